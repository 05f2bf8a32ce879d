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
mod trusted;
mod unreached;

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::ctx::request::Service;

/// The settings by which Lustre's requests are served.
///
/// # Errors
/// [`ConfigError`].
pub(super) fn of_lustre() -> Result<Config, ConfigError> {
    let rules = rule::inspect(Path::new("/"));
    Config::load(rules.lustre.or(rules.config).flatten().as_deref())
}

/// The settings by which requests of this user's are served: those in this file, else by the rule for them. A rule may
/// be for one user or one service alone.
///
/// # Errors
/// [`ConfigError`].
pub(super) fn of_user(
    file: Option<&Path>,
    uid: u32,
    service: Option<&Service>,
) -> Result<Config, ConfigError> {
    let named = file.map(PathBuf::from);
    Config::load(named.or_else(|| rule::settings_of(Path::new("/"), uid, service).flatten()).as_deref())
}

/// The file of settings that is in effect: this one, else the one that the request-key rule names; `None` for the usual
/// one.
fn file_in_effect(file: Option<&Path>) -> Option<PathBuf> {
    file.map(PathBuf::from).or_else(|| rule::inspect(Path::new("/")).config.flatten())
}
