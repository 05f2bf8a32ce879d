//! `lgss config check`: checks everything that a request needs; each fault comes with its remedy.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Severity};
use super::trial::{self, LustreService};
use super::{installation, rule, trusted};
use crate::cli::arguments::ConfigCheckArgs;
use crate::cli::exit::Exit;
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::sys::files::Untrusted;
use crate::terminal::{Terminal, results};

pub(crate) fn run(check: &ConfigCheckArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let findings = inspect(check);
    if check.json {
        results::json(&findings, terminal.out)?;
    } else {
        findings.iter().try_for_each(|finding| finding.print(terminal))?;
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        writeln!(terminal.out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    }
    let faulty = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if faulty { Exit::Faulty } else { Exit::Ok })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Findings in the order in which a request meets the parts: kernel, rule, settings, worker.
fn inspect(check: &ConfigCheckArgs) -> Vec<Finding> {
    let mut findings = installation::kernel();
    findings.push(installation::request_key());
    let mut rules = rule::inspect(&check.root);
    findings.append(&mut rules.findings);
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
    for (file, by) in files(check, &rules) {
        let name = file.clone().unwrap_or(DEFAULT_PATH.into());
        let lustre =
            if serves_lustre(&rules, &name) { LustreService::Served } else { LustreService::NotServed };
        match settings(file, &by, &mut findings) {
            Some(config) => {
                findings.extend(installation::check(&config, &name.to_string_lossy(), lustre));
                findings
                    .extend(programs(&rules).iter().filter_map(|program| trial::upcall(program, &config)));
            }
            None => findings.push(Finding::warning(
                "worker",
                format_args!("what {} names was not checked", name.display()),
                "correct the settings first",
            )),
        }
    }
    let mut distinct: Vec<Finding> = Vec::new();
    for finding in findings {
        if !distinct.contains(&finding) {
            distinct.push(finding);
        }
    }
    distinct
}

/// Every settings file that our rules name, each once, with the rule's place. First comes the general rule's file, or the
/// one on the command line.
fn files(check: &ConfigCheckArgs, rules: &rule::Inspection) -> Vec<(Option<PathBuf>, String)> {
    let first = check.config.clone().or_else(|| rules.config.clone().flatten());
    let mut files = vec![(first, String::new())];
    // With rules for some requests only, no other file is in use than theirs.
    if check.config.is_none() && rules.config.is_none() && !rules.ours.is_empty() {
        files.clear();
    }
    for rule in &rules.ours {
        let path = |file: &Option<PathBuf>| file.clone().unwrap_or(DEFAULT_PATH.into());
        // A file on the command line replaces the general rule's.
        let left_aside = check.config.is_some() && rules.config.as_ref() == Some(&rule.config);
        let known = files.iter().any(|(known, _)| path(known) == path(&rule.config));
        if !left_aside && !known {
            files.push((rule.config.clone(), format!(", by {}", rule.place)));
        }
    }
    files
}

fn serves_lustre(rules: &rule::Inspection, file: &Path) -> bool {
    rules.lustre.as_ref().is_some_and(|named| named.as_deref().unwrap_or(Path::new(DEFAULT_PATH)) == file)
}

fn programs(rules: &rule::Inspection) -> BTreeSet<&Path> {
    rules.ours.iter().map(|rule| rule.program.as_path()).collect()
}

/// Loads the settings, even from a file that upcalls do not trust, as far as it can be read.
fn settings(file: Option<PathBuf>, by: &str, findings: &mut Vec<Finding>) -> Option<Config> {
    let path = file.clone().unwrap_or(DEFAULT_PATH.into());
    let error = match Config::load(file.as_deref()) {
        Ok(config) => {
            let note = if path.exists() { "" } else { " does not exist: defaults" };
            findings.push(Finding::ok("settings", format_args!("{}{note}{by}", path.display())));
            return Some(config);
        }
        Err(error) => error,
    };
    let remedy = match &error {
        ConfigError::Untrusted(Untrusted::Open(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            "write the file, or let the rule name another one; every upcall by that rule fails"
        }
        ConfigError::Untrusted(_) => trusted::OWNERSHIP,
        ConfigError::Read(..) => "run this as root; the file must be text in UTF-8",
        ConfigError::Syntax(..) | ConfigError::Value(..) => {
            "see lgss.toml(5); every upcall fails until it is corrected"
        }
    };
    findings.push(Finding::error("settings", format_args!("{error}{by}"), remedy));
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
