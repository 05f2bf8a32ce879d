//! `lgss config`: shows the settings in effect, and checks whether the installation will work.
//!
//! Invariant: nothing is changed, and no request reaches the upcall.

mod cache_server;
pub(super) mod check;
mod classes;
mod contradictions;
mod examples;
#[cfg(feature = "test-programs")]
pub(super) mod fuzz;
mod helper;
mod hooks;
mod installation;
mod quotas;
mod rule;
mod rules;
pub(super) mod show;
mod trial;
mod unreached;

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::ctx::request::Service;
use crate::text::shell_word;

/// The settings that serve Lustre's requests.
///
/// # Errors
/// [`ConfigError`].
pub(super) fn of_lustre() -> Result<Config, ConfigError> {
    let rules = rule::inspect(Path::new("/"));
    Config::load(rules.lustre.or(rules.config).flatten().as_deref())
}

/// The settings that serve this user's requests: from this file, else from the file of their rule. A rule may be for one
/// user or one service only.
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

/// The settings file in effect: this one, else the one that the request-key rule names; `None` for the default path.
pub(super) fn file_in_effect(file: Option<&Path>) -> Option<PathBuf> {
    file.map(PathBuf::from).or_else(|| rule::inspect(Path::new("/")).config.flatten())
}

/// The command that checks the file which a command line names, or else the rule's.
pub(super) fn check_command(file: Option<&Path>) -> String {
    let option = file.map_or(String::new(), |file| format!(" --config {}", shell_word(file)));
    format!("lgss config check{option}")
}
