//! Lines that would start our program but match no request: mistakes that request-key(8) passes over in silence.
//!
//! A line counts as unreached only if no text of a request's grammar can match it: rules for one user, one service or Lustre
//! alone are fine.

use std::fmt;
use std::path::Path;

use super::rules::{RuleLine, Rules, skips};
use crate::ctx::lustre::LustreDescription;
use crate::ctx::request::Description;
use crate::selftest::finding::{Finding, Severity};

pub(super) const KEYRING_PROGRAM: &str = "lgss_keyring";
pub(super) const RULE_SUBJECT: &str = "rule";
/// Descriptions of programs' requests, one of each form.
const DESCRIPTIONS: [&str; 3] =
    ["lgss:1000:nfs@host.invalid", "lgss:self:nfs@host.invalid", "lgss:1000:nfs@host.invalid:x"];
const LUSTRES_DESCRIPTIONS: [&str; 1] = ["1000@1"];
/// Start of the callout of every program's request.
const CALLOUT_VERSION: &str = "lgss1;";
/// Columns before the program: operation, type, description, callout.
const COLUMNS: usize = 4;

/// Why no request reaches a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnreachableRule<'a> {
    Indented,
    Columns(usize),
    Operation(&'a str),
    Type(&'a str),
    Description(&'a str),
    Callout(&'a str),
}

impl fmt::Display for UnreachableRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unreached = format!("starts {KEYRING_PROGRAM}, but no request reaches it");
        match self {
            Self::Operation(operation) => write!(f, "operation \"{operation}\" is not create"),
            Self::Indented => write!(f, "{unreached}: it starts with a blank, which makes it a comment"),
            Self::Columns(count) => {
                write!(f, "{unreached}: the program is in column {} instead of {}", count + 1, COLUMNS + 1)
            }
            Self::Type(pattern) => write!(f, "{unreached}: type \"{pattern}\""),
            Self::Description(pattern) => write!(f, "{unreached}: description \"{pattern}\""),
            Self::Callout(pattern) => write!(f, "{unreached}: callout \"{pattern}\""),
        }
    }
}

impl UnreachableRule<'_> {
    fn remedy(self) -> &'static str {
        match self {
            Self::Indented => "remove the blank, or make the line a comment with #",
            Self::Columns(_) => {
                "write operation, type, description and callout before the program: create user lgss:* *, or create lgssc * * for Lustre"
            }
            Self::Operation(_) => "write create, the only operation for which the kernel starts request-key",
            Self::Type(_) => "write user for requests of programs, lgssc for Lustre's",
            Self::Description(_) => {
                "write lgss:* for all programs, lgss:UID:* for one user's, * for Lustre; an asterisk goes at the end"
            }
            Self::Callout(_) => "write * for the callout",
        }
    }
}

/// One finding for each such line, except where an error is `known` already. `severity` is that of all slips but a wrong
/// operation.
pub(super) fn findings(rules: &Rules, severity: Severity, known: &[Finding]) -> Vec<Finding> {
    // Prose may be indented and name the program.
    let is_rule = |line: &&RuleLine| start(line).is_some() && line.words().any(|word| word == "%k");
    let indented = rules.indented.iter().filter(is_rule).map(|line| (line, UnreachableRule::Indented));
    let slips = rules.lines.iter().filter_map(|line| Some((line, slip(line)?)));
    let is_known = |place: &str| {
        let mut errors = known.iter().filter(|finding| finding.severity == Severity::Error);
        errors.any(|error| error.finding.starts_with(&format!("{place}: ")))
    };
    slips
        .chain(indented)
        .filter(|(line, _)| !is_known(&line.place()))
        .map(|(line, slip)| {
            let severity =
                if matches!(slip, UnreachableRule::Operation(_)) { Severity::Error } else { severity };
            let finding = format_args!("{}: {slip}", line.place());
            Finding { severity, ..Finding::error(RULE_SUBJECT, finding, slip.remedy()) }
        })
        .collect()
}

/// Whether the line is a rule of ours for requests of programs, even if only for some.
pub(super) fn serves_programs(line: &RuleLine) -> bool {
    let words: Vec<&str> = line.words().collect();
    let of_programs = matches!(words.as_slice(), [_, key_type, ..] if skips(key_type, "user").is_some());
    of_programs && start(line).is_some() && slip(line).is_none()
}

/// The slip in a line that starts our program; `None` also for other lines.
fn slip(line: &RuleLine) -> Option<UnreachableRule<'_>> {
    let column = start(line)?;
    if column < COLUMNS {
        return Some(UnreachableRule::Columns(column));
    }
    let mut words = line.words();
    let (operation, key_type, description, callout) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    if skips(operation, "create").is_none() {
        return Some(UnreachableRule::Operation(operation));
    }
    let (programs, lustre) = (skips(key_type, "user").is_some(), skips(key_type, "lgssc").is_some());
    let programs_description =
        || reaches(description, &DESCRIPTIONS, |text| text.parse::<Description>().is_ok());
    let lustres_description =
        || reaches(description, &LUSTRES_DESCRIPTIONS, |text| text.parse::<LustreDescription>().is_ok());
    // Callouts of Lustre are not checked: their content is Lustre's affair.
    if lustre && lustres_description() {
        None
    } else if !programs && !lustre {
        Some(UnreachableRule::Type(key_type))
    } else if !programs || !programs_description() {
        Some(UnreachableRule::Description(description))
    } else if !reaches(callout, &[CALLOUT_VERSION], |text| text.starts_with(CALLOUT_VERSION)) {
        Some(UnreachableRule::Callout(callout))
    } else {
        None
    }
}

/// The column of the program's name, from 0. In an earlier column the name may be a pattern of another package's rule,
/// unless a command's words follow.
fn start(line: &RuleLine) -> Option<usize> {
    let words: Vec<&str> = line.words().collect();
    let is_command = |index: usize| {
        index >= COLUMNS || words.get(index + 1).is_some_and(|next| next.starts_with(['%', '-']))
    };
    let named = |word: &str| Path::new(word).file_name().is_some_and(|name| name == KEYRING_PROGRAM);
    let found = words.iter().enumerate().position(|(index, word)| named(word) && is_command(index));
    found.filter(|_| !line.too_long)
}

/// Whether any `valid` text can match the pattern: the pattern itself, or the pattern with the beginning or end of a
/// sample in place of its asterisk.
fn reaches(pattern: &str, samples: &[&str], valid: impl Fn(&str) -> bool) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return valid(pattern) };
    // After an asterisk inside a word, request-key compares the text's end with the pattern's beginning (rules.rs).
    let end = if before.is_empty() { after } else { pattern.get(..after.len()).unwrap_or(after) };
    let parts = samples.iter().flat_map(|sample| {
        let splits = (0..=sample.len()).filter_map(|at| sample.split_at_checked(at));
        splits.map(|(head, tail)| if before.is_empty() { head } else { tail })
    });
    parts
        .map(|part| format!("{before}{part}{end}"))
        .any(|text| valid(&text) && skips(pattern, &text).is_some())
}

#[cfg(test)]
mod tests;
