//! `lgss config`: the settings in effect, and whether the installation will work.
//!
//! Invariant: nothing is changed, and no upcall is made.

pub(super) mod check;
mod finding;
mod installation;
mod rule;
mod rules;
pub(super) mod show;
