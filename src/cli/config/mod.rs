//! `lgss config`: the settings in effect, and whether the installation will work.
//!
//! Invariant: nothing is changed, and no upcall is made.

pub(super) mod check;
mod finding;
mod installation;
mod quotas;
mod relations;
mod rule;
mod rules;
pub(super) mod show;
mod trial;

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};

/// The settings in this file, else in the one that the request-key rule names, else in the usual one.
///
/// # Errors
/// [`ConfigError`].
pub(super) fn in_effect(file: Option<&Path>) -> Result<Config, ConfigError> {
    let of_rule = || rule::inspect(Path::new("/")).config.flatten();
    Config::load(file.map(PathBuf::from).or_else(of_rule).as_deref())
}
