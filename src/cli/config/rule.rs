//! Checks of the request-key rules: which one answers requests for contexts, and whether it is ours.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::examples::{PROBE_CALLOUT, examples};
use super::rules::{KeyRequest, Rule, RuleChoice, RuleLine, Rules};
use super::unreached::{self, KEYRING_PROGRAM, RULE_SUBJECT};
use crate::ctx::request::Service;
use crate::selftest::finding::{Finding, Severity};
use crate::selftest::trusted::program;
use crate::text::shell_word;

/// A request that no rule can be made for in particular.
const PROBE_DESCRIPTION: &str = "lgss:4294967294:lgss-config-check@host.invalid";
const WORDS: [&str; 10] = ["%o", "%k", "%t", "%d", "%c", "%u", "%g", "%T", "%P", "%S"];
const OURS: &str = "create user lgss:* * /usr/sbin/lgss_keyring %o %k %t %d %c %u %g %T %P %S";

const LUSTRES: &str = "create lgssc * * /usr/sbin/lgss_keyring %o %k %t %d %c %u %g %T %P %S";

/// A request by Lustre for the machine.
const LUSTRE_PROBE: KeyRequest<'static> = KeyRequest {
    key_type: "lgssc",
    description: "0@0",
    callout: "0:krb5:0:0:r:i:1:0x0:check-MDT0000-mdc:0x0:0:",
};

/// Result of checking the rules.
pub(super) struct Inspection {
    pub(super) findings: Vec<Finding>,
    /// The settings file that our rule names, if it names one; `None` if no rule of ours answers general requests.
    pub(super) config: Option<Option<PathBuf>>,
    /// All rules that start our program, for any request.
    pub(super) ours: Vec<Ours>,
    /// The settings file for Lustre's requests, if these start our program.
    pub(super) lustre: Option<Option<PathBuf>>,
}

/// A rule that starts our program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ours {
    /// The place of the rule, for people.
    pub(super) place: String,
    /// The program.
    pub(super) program: PathBuf,
    /// The settings file that it names.
    pub(super) config: Option<PathBuf>,
}

/// Checks the rules below `root`.
pub(super) fn inspect(root: &Path) -> Inspection {
    inspect_rules(&Rules::read(root), root)
}

/// Checks these rules.
pub(super) fn inspect_rules(rules: &Rules, root: &Path) -> Inspection {
    let mut findings = files(rules, root);
    let request = KeyRequest { key_type: "user", description: PROBE_DESCRIPTION, callout: PROBE_CALLOUT };
    let mut config = None;
    let lustre = match rules.choose(&LUSTRE_PROBE) {
        RuleChoice::Start(rule) if is_ours(&rule) => Some(named_config(&rule)),
        _ => None,
    };
    match rules.choose(&request) {
        RuleChoice::Start(rule) if is_ours(&rule) => {
            config = Some(named_config(&rule));
            let faults = faults(&rule);
            if faults.is_empty() {
                findings.push(Finding::ok(
                    RULE_SUBJECT,
                    format_args!("{}: {}", rule.line.place(), rule.line.text),
                ));
            }
            findings.extend(faults);
            findings.extend(ties(rules, &request, &rule));
        }
        RuleChoice::Start(rule) => findings.push(shadowed(&rule)),
        RuleChoice::NoRule if rules.lines.iter().any(unreached::serves_programs) => {
            findings.push(Finding::warning(
                RULE_SUBJECT,
                "no rule answers context requests in general; our rules answer only some of them",
                format_args!(
                    "if all users are to have contexts, write to /etc/request-key.d/lgss.conf: {OURS}"
                ),
            ))
        }
        RuleChoice::NoRule if lustre.is_some() => findings.push(Finding::warning(
            RULE_SUBJECT,
            "no rule answers programs' requests: they fail with ENOKEY, and Lustre alone is served",
            format_args!("if programs are to have contexts, write to /etc/request-key.d/lgss.conf: {OURS}"),
        )),
        RuleChoice::NoRule => findings.push(Finding::error(
            RULE_SUBJECT,
            "no rule answers context requests: they fail with ENOKEY",
            format_args!("write to /etc/request-key.d/lgss.conf: {OURS}"),
        )),
        RuleChoice::Unreadable(line) => findings.push(unreadable_line(line)),
    }
    findings.extend(special_cases(rules));
    findings.extend(lustres(rules, root));
    let severity = if config.is_some() { Severity::Warning } else { Severity::Error };
    findings.extend(unreached::findings(rules, severity, &findings));
    Inspection { findings, config, ours: ours(rules), lustre }
}

/// The settings file named by the rule for this owner's requests for a service; `None` if no such rule is ours.
pub(super) fn settings_of(root: &Path, owner: u32, service: Option<&Service>) -> Option<Option<PathBuf>> {
    let service = service.map_or_else(|| "lgss-config-check@host.invalid".to_owned(), Service::to_string);
    let description = format!("lgss:{owner}:{service}");
    let rules = Rules::read(root);
    match rules.choose(&KeyRequest { key_type: "user", description: &description, callout: PROBE_CALLOUT }) {
        RuleChoice::Start(rule) if is_ours(&rule) => Some(named_config(&rule)),
        _ => None,
    }
}

/// Every rule that starts our program, even one that another rule shadows.
fn ours(rules: &Rules) -> Vec<Ours> {
    let commands = rules.lines.iter().filter_map(|line| line.rule());
    commands
        .filter(is_ours)
        .filter_map(|rule| {
            let program = rule.command.iter().find(|word| {
                Path::new(word).is_absolute()
                    && Path::new(word).file_name().is_some_and(|name| name == KEYRING_PROGRAM)
            })?;
            Some(Ours {
                place: rule.line.place(),
                program: PathBuf::from(program),
                config: named_config(&rule),
            })
        })
        .collect()
}

/// Checks the rule for Lustre's requests, which Lustre's package brings; without Lustre there need be none.
fn lustres(rules: &Rules, root: &Path) -> Vec<Finding> {
    const LUSTRE_SUBJECT: &str = "lustre rule";
    let loaded = root.join("sys/fs/lustre").exists();
    match rules.choose(&LUSTRE_PROBE) {
        RuleChoice::Start(rule) if is_ours(&rule) => {
            let faults: Vec<Finding> = faults(&rule)
                .into_iter()
                .map(|finding| Finding { subject: LUSTRE_SUBJECT.into(), ..finding })
                .collect();
            if faults.is_empty() {
                let line = format_args!("{}: {}", rule.line.place(), rule.line.text);
                return vec![Finding::ok(LUSTRE_SUBJECT, line)];
            }
            faults
        }
        RuleChoice::Start(rule) if loaded => {
            let command = rule.command.join(" ");
            let finding = format_args!("{}: requests of Lustre start {command}", rule.line.place());
            vec![Finding::warning(
                LUSTRE_SUBJECT,
                finding,
                "if that is not intended, remove or narrow that rule",
            )]
        }
        RuleChoice::NoRule if loaded => {
            let finding = "no rule answers requests of Lustre, whose modules are loaded";
            vec![Finding::error(
                LUSTRE_SUBJECT,
                finding,
                format_args!("write to /etc/request-key.d/lgssc.conf: {LUSTRES}"),
            )]
        }
        // A line that ends the search has been reported already.
        RuleChoice::Start(_) | RuleChoice::NoRule | RuleChoice::Unreadable(_) => Vec::new(),
    }
}

/// Rule files and directories that others can write to: a rule's writer decides what root executes.
fn written_by_others(rules: &Rules, root: &Path) -> Vec<Finding> {
    let directories = [root.join("etc"), root.join("etc/request-key.d")];
    let mut files: Vec<&Path> = rules.lines.iter().map(|line| line.file.as_path()).collect();
    files.dedup();
    directories
        .iter()
        .map(PathBuf::as_path)
        .chain(files)
        .filter(|path| path.metadata().is_ok_and(|is| is.uid() != 0 || is.mode() & 0o022 != 0))
        .map(|path| {
            Finding::error(
                RULE_SUBJECT,
                format_args!(
                    "{} is not owned by root or is writable by others, who can have root execute anything",
                    path.display()
                ),
                format_args!("chown root {0}; chmod go-w {0}", shell_word(path)),
            )
        })
        .collect()
}

/// Files that do not count as an admin would think.
fn files(rules: &Rules, root: &Path) -> Vec<Finding> {
    let mut findings = written_by_others(rules, root);
    for file in &rules.passed_over {
        findings.push(Finding::warning(
            RULE_SUBJECT,
            format_args!("{} is not a regular file: request-key passes over it", file.display()),
            "put a copy in its place",
        ));
    }
    for (file, error) in &rules.unreadable {
        findings.push(Finding::warning(
            RULE_SUBJECT,
            format_args!("{}: {error}", file.display()),
            "run this as root",
        ));
    }
    for line in rules.lines.iter().filter(|line| line.cut) {
        findings.push(Finding::warning(
            RULE_SUBJECT,
            format_args!("{}: without its line break the line loses its last character", line.place()),
            "end it with a line break",
        ));
    }
    findings
}

fn unreadable_line(line: &RuleLine) -> Finding {
    let what =
        if line.too_long { "too long for request-key" } else { "not a rule that request-key can read" };
    Finding::error(
        RULE_SUBJECT,
        format_args!("{}: {what}; request-key then ignores the other rules too", line.place()),
        "correct or remove the line",
    )
}

fn shadowed(rule: &Rule<'_>) -> Finding {
    Finding::error(
        RULE_SUBJECT,
        format_args!(
            "{}: requests of {} start {} instead of {KEYRING_PROGRAM}",
            rule.line.place(),
            rule.description,
            rule.command.join(" ")
        ),
        format_args!("remove or narrow that rule, or add ours: {OURS}"),
    )
}

/// Whether the rule names our program, even behind a bar (pipe) or as another program's argument.
fn is_ours(rule: &Rule<'_>) -> bool {
    rule.command.iter().any(|word| Path::new(word).file_name().is_some_and(|name| name == KEYRING_PROGRAM))
}

/// The settings file in the rule's options.
fn named_config(rule: &Rule<'_>) -> Option<PathBuf> {
    let mut words =
        rule.command.iter().take_while(|word| **word != "%o").skip_while(|word| **word != "--config");
    words.nth(1).map(PathBuf::from)
}

/// Faults of a rule of ours.
fn faults(rule: &Rule<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let error = |finding: &str, remedy: &str| {
        Finding::error(RULE_SUBJECT, format_args!("{}: {finding}", rule.line.place()), remedy)
    };
    let (name, words) = rule.command.split_first().map_or(("", &[][..]), |(name, words)| (*name, words));
    if name.starts_with('|') {
        findings
            .push(error("the program gets a pipe instead of arguments", "remove the bar before its name"));
    } else if Path::new(name).file_name().is_none_or(|name| name != KEYRING_PROGRAM) {
        let finding =
            error(&format!("{name} stands before {KEYRING_PROGRAM}"), "let the rule name the program itself");
        findings.push(Finding { severity: Severity::Warning, ..finding });
    } else if Path::new(name).is_relative() {
        let remedy = format!("write its whole path, such as /usr/sbin/{KEYRING_PROGRAM}");
        findings.push(error(&format!("{name} is not an absolute path"), &remedy));
    } else if let (None, Finding { finding, remedy, .. }) =
        program(RULE_SUBJECT, Path::new(name), "install it there, or correct the rule")
    {
        findings.push(error(&finding, &remedy.unwrap_or_default()));
    }
    let words = options_off(words);
    if !words.ends_with(&WORDS) {
        findings.push(error(
            "the arguments are not those that the upcall needs",
            &format!("let the rule end in {}", WORDS.join(" ")),
        ));
    } else if words.len() > WORDS.len() && !findings.iter().any(|f| f.finding.contains("stands before")) {
        findings.push(error(
            &format!("{KEYRING_PROGRAM} has no option {}", words.first().unwrap_or(&"")),
            "see lgss_keyring(8)",
        ));
    }
    findings
}

/// The words after the options that the upcall knows (src/upcall/invocation.rs).
fn options_off<'a, 'b>(mut words: &'a [&'b str]) -> &'a [&'b str] {
    while let ["--config" | "-R" | "--realm", _, rest @ ..] = words {
        words = rest;
    }
    words
}

/// Rules of equal rank in files of request-key.d, where the order of the directory decides.
fn ties(rules: &Rules, request: &KeyRequest<'_>, chosen: &Rule<'_>) -> Vec<Finding> {
    let directory = |rule: &Rule<'_>| rule.line.file.parent().map(Path::to_owned);
    rules
        .matching(request)
        .iter()
        .filter(|rule| rule.skipped == chosen.skipped && rule.command != chosen.command)
        .filter(|rule| rule.line.file != chosen.line.file && directory(rule) == directory(chosen))
        .map(|rule| {
            Finding::warning(
                RULE_SUBJECT,
                format_args!(
                    "{} ranks as high as {}: which of them is used is undefined",
                    rule.line.place(),
                    chosen.line.place()
                ),
                "remove one of them",
            )
        })
        .collect()
}

/// Checks rules that answer some requests for contexts because they are more specific than the general rule.
fn special_cases(rules: &Rules) -> Vec<Finding> {
    let mut seen = HashSet::new();
    let mut findings = Vec::new();
    for line in &rules.lines {
        for (description, callout) in examples(line) {
            let request = KeyRequest { key_type: "user", description: &description, callout: &callout };
            let chosen = match rules.choose(&request) {
                RuleChoice::Start(rule) => rule,
                RuleChoice::Unreadable(line) if seen.insert(line.place()) => {
                    findings.push(unreadable_line(line));
                    continue;
                }
                RuleChoice::Unreadable(_) | RuleChoice::NoRule => continue,
            };
            if chosen.line != line || is_general(&chosen, rules) || !seen.insert(line.place()) {
                continue;
            }
            if !is_ours(&chosen) {
                findings.push(shadowed(&chosen));
            } else {
                let faults = faults(&chosen);
                if faults.is_empty() {
                    let what = format!("{}, for {} only: {}", line.place(), chosen.description, line.text);
                    findings.push(Finding::ok(RULE_SUBJECT, what));
                }
                findings.extend(faults);
            }
        }
    }
    findings
}

/// Whether it is the rule for general requests, which has been reported already.
fn is_general(rule: &Rule<'_>, rules: &Rules) -> bool {
    let request = KeyRequest { key_type: "user", description: PROBE_DESCRIPTION, callout: PROBE_CALLOUT };
    matches!(rules.choose(&request), RuleChoice::Start(general) if general.line == rule.line)
}

#[cfg(test)]
#[path = "rule/tests.rs"]
mod tests;
