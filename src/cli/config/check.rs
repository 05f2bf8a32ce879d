//! `lgss config check`: checks everything that a request needs; each fault comes with its remedy.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::trial::{self, LustreService};
use super::{helper, installation, rule};
use crate::cli::arguments::ConfigCheckArgs;
use crate::cli::exit::Exit;
use crate::config::settings_file;
use crate::provider::programs::CheckInstallation;
use crate::provider::{Delegated, RootRights, Undone, perform};
use crate::selftest::finding::{Finding, Severity};
use crate::selftest::settings;
use crate::terminal::{Terminal, results};
use crate::text::quoted_path;

pub(crate) fn run(check: &ConfigCheckArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    if let Err(error) = std::fs::read_dir(&check.root) {
        writeln!(terminal.err, "lgss: {}: {error}", quoted_path(&check.root))?;
        return Ok(Exit::Usage);
    }
    let findings = match by_helper(check) {
        Some(Ok(findings)) => findings,
        Some(Err(undone)) => inspect_alone(check, &undone),
        None => inspect(check),
    };
    if check.json {
        results::json(&findings, terminal.out)?;
    } else {
        findings.iter().try_for_each(|finding| finding.print(terminal.out))?;
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        writeln!(terminal.out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    }
    let faulty = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if faulty { Exit::Faulty } else { Exit::Ok })
}

/// What lgss_helper finds with the rights of root, for those whom it serves; all others look with their own. A file or directory
/// on the command line is not for root to open.
fn by_helper(check: &ConfigCheckArgs) -> Option<Result<Vec<Finding>, Undone>> {
    let is_plain = check.config.is_none() && check.root == Path::new("/");
    if !is_plain || RootRights::of_process().is_some() {
        return None;
    }
    let found = perform(Delegated::of_command(CheckInstallation {}));
    Some(found.and_then(|found| {
        serde_json::from_value(found).map_err(|_| Undone::plain("the answer of lgss_helper makes no sense"))
    }))
}

/// What the caller sees, and that it is not all.
fn inspect_alone(check: &ConfigCheckArgs, undone: &Undone) -> Vec<Finding> {
    let mut findings = inspect(check);
    let what = format_args!("checked as uid {}: {undone}", nix::unistd::geteuid());
    let remedy = undone.remedy.as_deref().unwrap_or("sudo lgss config check");
    findings.insert(0, Finding::warning("rights", what, remedy));
    findings
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Findings in the order in which a request meets the parts: kernel, rule, settings, worker.
fn inspect(check: &ConfigCheckArgs) -> Vec<Finding> {
    let mut findings = installation::kernel();
    findings.push(installation::request_key());
    findings.extend(helper::finding());
    let mut rules = rule::inspect(&check.root);
    findings.append(&mut rules.findings);
    if let (Some(named), Some(of_rule)) = (&check.config, &rules.config)
        && settings_file(of_rule.as_deref()) != named
    {
        let of_rule = settings_file(of_rule.as_deref()).display();
        findings.push(Finding::warning(
            "settings",
            format_args!("upcalls read {of_rule}, by the rule, and not {}", named.display()),
            format_args!("let the rule say --config {}, or check {of_rule}", named.display()),
        ));
    }
    for (file, by) in files(check, &rules) {
        let name = settings_file(file.as_deref()).to_owned();
        let lustre =
            if serves_lustre(&rules, &name) { LustreService::Served } else { LustreService::NotServed };
        if let Some(config) = settings::load(file, &by, &mut findings) {
            findings.extend(installation::check(&config, &name.to_string_lossy(), lustre));
            findings.extend(programs(&rules).iter().filter_map(|program| trial::upcall(program, &config)));
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
        let path = |file: &Option<PathBuf>| settings_file(file.as_deref()).to_owned();
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
    rules.lustre.as_ref().is_some_and(|named| settings_file(named.as_deref()) == file)
}

fn programs(rules: &rule::Inspection) -> BTreeSet<&Path> {
    rules.ours.iter().map(|rule| rule.program.as_path()).collect()
}
