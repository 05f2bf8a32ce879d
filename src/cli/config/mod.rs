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

/// The settings by which Lustre's requests are served.
///
/// # Errors
/// [`ConfigError`].
pub(super) fn of_lustre() -> Result<Config, ConfigError> {
    let rules = rule::inspect(Path::new("/"));
    Config::load(rules.lustre.or(rules.config).flatten().as_deref())
}

/// The file of settings that is in effect: this one, else the one that the request-key rule names; `None` for the usual one.
fn file_in_effect(file: Option<&Path>) -> Option<PathBuf> {
    file.map(PathBuf::from).or_else(|| rule::inspect(Path::new("/")).config.flatten())
}

/// The settings in this file, else in the one that the request-key rule names, else in the usual one.
///
/// # Errors
/// [`ConfigError`].
pub(super) fn in_effect(file: Option<&Path>) -> Result<Config, ConfigError> {
    Config::load(file_in_effect(file).as_deref())
}
