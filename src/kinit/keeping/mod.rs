//! Tickets that are renewed as long as a process lives, by a process in the background.
//!
//! Called by `kinit` when the tickets are stored. Invariant: the background process holds no descriptor, terminal or directory of
//! who started it, and ends with the process that it watches, with the tickets, or with the keyring that they are in; it brings
//! no tickets back that somebody has destroyed.

mod background;
mod keeper;
mod schedule;
mod telling;

pub(super) use background::start;
pub(super) use keeper::{KeptTickets, Watched};
