//! The settings file: who can change it, and whether it can be read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::trusted;
use crate::config::{Config, ConfigError, settings_file};
use crate::sys::files::Untrusted;

/// Loads the settings; where that is impossible, a finding says that what they name was not checked. `by` ends the
/// findings: which rule names the file.
pub(crate) fn load(file: Option<PathBuf>, by: &str, findings: &mut Vec<Finding>) -> Option<Config> {
    let path = settings_file(file.as_deref()).to_owned();
    let config = as_far_as_can_be_read(file, &path, by, findings);
    if config.is_none() {
        findings.push(Finding::warning(
            "worker",
            format_args!("what {} names was not checked", path.display()),
            "correct the settings first",
        ));
    }
    config
}

/// Takes even a file that upcalls do not trust.
fn as_far_as_can_be_read(
    file: Option<PathBuf>,
    path: &Path,
    by: &str,
    findings: &mut Vec<Finding>,
) -> Option<Config> {
    let error = match Config::load(file.as_deref()) {
        Ok(config) => {
            let note = if path.exists() { "" } else { " does not exist: defaults" };
            findings.push(Finding::ok("settings", format_args!("{}{note}{by}", path.display())));
            return Some(config);
        }
        Err(error) => error,
    };
    findings.push(Finding::error("settings", format_args!("{error}{by}"), remedy(&error)));
    let text = fs::read_to_string(path).ok()?;
    match (Config::parse(&text, path), error) {
        (Ok(config), _) => Some(config),
        (Err(second), ConfigError::Untrusted(_)) => {
            findings.push(Finding::error("settings", second, "see lgss.toml(5)"));
            None
        }
        (Err(_), _) => None,
    }
}

fn remedy(error: &ConfigError) -> &'static str {
    match error {
        ConfigError::Untrusted(Untrusted::Open(_, error)) if error.kind() == ErrorKind::NotFound => {
            "create the file, or name another one: no upcall can use what is not there"
        }
        ConfigError::Untrusted(fault) => trusted::remedy(
            fault,
            "put a regular file there that root can read; every upcall fails until then",
        ),
        ConfigError::Read(..) => "run this as root; the file must be text in UTF-8",
        ConfigError::Syntax(..) | ConfigError::Value(..) => {
            "see lgss.toml(5); until it is corrected, every upcall fails, and no lgss_agent starts"
        }
    }
}
