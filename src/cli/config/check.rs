//! `lgss config check`: everything that must be right for a request to be answered, each with its remedy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Level};
use super::{installation, rule};
use crate::cli::arguments::ConfigCheck;
use crate::cli::exit::Exit;
use crate::cli::{Terminal, words};
use crate::config::{Config, ConfigError, DEFAULT_PATH};

pub(crate) fn run(check: &ConfigCheck, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let findings = inspect(check);
    if check.json {
        words::json(&findings, terminal.out)?;
    } else {
        findings.iter().try_for_each(|finding| finding.print(terminal))?;
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        writeln!(terminal.out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    }
    let faulty = findings.iter().any(|finding| finding.level == Level::Error);
    Ok(if faulty { Exit::Faulty } else { Exit::Ok })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// In the order in which a request meets them: kernel, rule, settings, worker.
fn inspect(check: &ConfigCheck) -> Vec<Finding> {
    let mut findings = installation::kernel();
    findings.push(installation::request_key());
    let rules = rule::inspect(&check.root);
    findings.extend(rules.findings);
    if let (Some(named), Some(of_rule)) = (&check.config, &rules.config)
        && of_rule.as_deref().unwrap_or(Path::new(DEFAULT_PATH)) != named
    {
        let of_rule = of_rule.as_deref().unwrap_or(Path::new(DEFAULT_PATH)).display();
        findings.push(Finding::warning(
            "settings",
            format_args!("upcalls read {of_rule}, by the rule, and not {}", named.display()),
            format_args!("let the rule say --config {}, or check {of_rule}", named.display()),
        ));
    }
    let file = check.config.clone().or(rules.config.flatten());
    match settings(file, &mut findings) {
        Some(config) => findings.extend(installation::of(&config)),
        None => findings.push(Finding::warning(
            "worker",
            "what the settings name was not checked",
            "correct the settings first",
        )),
    }
    findings
}

/// The settings; also those of a file that upcalls do not trust, as far as they can be read.
fn settings(file: Option<PathBuf>, findings: &mut Vec<Finding>) -> Option<Config> {
    let path = file.clone().unwrap_or(DEFAULT_PATH.into());
    let error = match Config::load(file.as_deref()) {
        Ok(config) => {
            let note = if path.exists() { "" } else { " does not exist: defaults" };
            findings.push(Finding::ok("settings", format_args!("{}{note}", path.display())));
            return Some(config);
        }
        Err(error) => error,
    };
    let remedy = match error {
        ConfigError::Untrusted(_) => installation::OWNERSHIP,
        ConfigError::Read(..) => "run this as root; the file must be text in UTF-8",
        ConfigError::Syntax(..) | ConfigError::Value(..) => {
            "see lgss.toml(5); every upcall fails until it is corrected"
        }
    };
    findings.push(Finding::error("settings", &error, remedy));
    let text = fs::read_to_string(&path).ok()?;
    match (Config::parse(&text, &path), error) {
        (Ok(config), _) => Some(config),
        (Err(second), ConfigError::Untrusted(_)) => {
            findings.push(Finding::error("settings", second, "see lgss.toml(5)"));
            None
        }
        (Err(_), _) => None,
    }
}
