//! Model of request-key(8) (keyutils 1.6): which program /sbin/request-key starts for a request. Found by experiment; a
//! test asks the real program about many sets of rules.
//!
//! Called by `lgss config check`. The model has behaviour that an admin would not expect: files of request-key.d come in the
//! order of the directory, not of their names; links and names other than `*.conf` are passed over; one line that cannot
//! be read ends the search, whatever has matched before; a last line without its line break loses its last character; an
//! asterisk inside a word is useless, because the text's end is compared with the pattern's beginning.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest line in bytes, with its line break.
const RULE_LINE_LIMIT: usize = 4095;

/// The parts of a request that select a rule.
#[derive(Debug, Clone)]
pub(super) struct KeyRequest<'a> {
    /// Type of the key.
    pub(super) key_type: &'a str,
    /// Its description.
    pub(super) description: &'a str,
    /// Callout.
    pub(super) callout: &'a str,
}

/// A line of a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleLine {
    /// The file.
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) number: usize,
    /// The text as request-key reads it.
    pub(super) text: String,
    /// Whether it lacks its line break.
    pub(super) cut: bool,
    /// Whether it is longer than request-key can read.
    pub(super) too_long: bool,
}

/// A line that matches a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    /// Where it stands.
    pub(super) line: &'a RuleLine,
    /// Pattern of the description.
    pub(super) description: &'a str,
    /// Program and words.
    pub(super) command: Vec<&'a str>,
    /// Characters that wildcards stand for, column by column: the rule with the least is used.
    pub(super) skipped: [usize; 4],
}

/// The action of request-key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuleChoice<'a> {
    /// Starts this rule's program.
    Start(Rule<'a>),
    /// Finds no rule: ENOKEY.
    NoRule,
    /// Cannot read this line: ENOKEY too.
    Unreadable(&'a RuleLine),
}

/// All lines that request-key reads, in its order, without comments and empty lines.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The lines.
    pub(super) lines: Vec<RuleLine>,
    /// Lines that start with a blank, which makes them comments.
    pub(super) indented: Vec<RuleLine>,
    /// Files of request-key.d that it passes over, though an admin may think that they count.
    pub(super) passed_over: Vec<PathBuf>,
    /// Files that could not be read here.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

impl Rules {
    /// Reads the rules below `root`.
    pub(super) fn read(root: &Path) -> Self {
        let mut rules = Self::default();
        let directory = root.join("etc/request-key.d");
        // Not sorted, as in request-key.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let counts = name.as_encoded_bytes().len() > ".conf".len()
                && name.as_encoded_bytes().ends_with(b".conf")
                && !name.as_encoded_bytes().starts_with(b".");
            if counts && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                rules.read_file(entry.path());
            } else if counts {
                rules.passed_over.push(entry.path());
            }
        }
        rules.read_file(root.join("etc/request-key.conf"));
        rules
    }

    fn read_file(&mut self, file: PathBuf) {
        match fs::read(&file) {
            Ok(bytes) => self.take(&file, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.unreadable.push((file, error)),
        }
    }

    /// Adds the lines of one file.
    pub(super) fn take(&mut self, file: &Path, bytes: &[u8]) {
        let bytes = bytes.split_inclusive(|&byte| byte == b'\n').enumerate();
        let lines = bytes.filter_map(|(index, line)| RuleLine::read(file, index + 1, line));
        let (indented, lines): (Vec<_>, _) = lines.partition(RuleLine::is_indented);
        self.lines.extend::<Vec<_>>(lines);
        self.indented.extend(indented);
    }

    /// The rule for a request.
    pub(super) fn choose(&self, request: &KeyRequest<'_>) -> RuleChoice<'_> {
        let mut best: Option<Rule<'_>> = None;
        for line in &self.lines {
            match line.matching(request) {
                Match::Rule(rule) if best.as_ref().is_none_or(|best| rule.skipped < best.skipped) => {
                    best = Some(rule)
                }
                Match::Rule(_) | Match::No => {}
                Match::Unreadable => return RuleChoice::Unreadable(line),
            }
        }
        best.map_or(RuleChoice::NoRule, RuleChoice::Start)
    }

    /// All rules that match a request, in the order read.
    pub(super) fn matching(&self, request: &KeyRequest<'_>) -> Vec<Rule<'_>> {
        self.lines
            .iter()
            .filter_map(|line| match line.matching(request) {
                Match::Rule(rule) => Some(rule),
                _ => None,
            })
            .collect()
    }
}

/// Result of matching one line with one request.
enum Match<'a> {
    Rule(Rule<'a>),
    No,
    Unreadable,
}

impl RuleLine {
    /// `None` for comments and empty lines.
    fn read(file: &Path, number: usize, bytes: &[u8]) -> Option<Self> {
        let too_long = bytes.len() > RULE_LINE_LIMIT;
        let cut = bytes.last() != Some(&b'\n');
        let text = String::from_utf8_lossy(bytes.get(..bytes.len() - 1)?).into_owned();
        let empty = bytes.first()?.is_ascii_whitespace() && text.chars().all(blank);
        let counts = !bytes.starts_with(b"#") && !empty;
        (counts || too_long).then(|| Self { file: file.to_owned(), number, text, cut, too_long })
    }

    /// Whether the line starts with a blank, which makes it a comment unless it is too long.
    fn is_indented(&self) -> bool {
        !self.too_long && self.text.starts_with(|c: char| c.is_ascii_whitespace())
    }

    /// File and line number, for people.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }

    /// All words of the line.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(blank).filter(|word| !word.is_empty())
    }

    /// The line as a rule, for any request, if it can be read.
    pub(super) fn rule(&self) -> Option<Rule<'_>> {
        let mut words = self.words();
        let description = words.nth(2)?;
        let command: Vec<&str> = words.skip(1).collect();
        (!self.too_long && !command.is_empty()).then_some(Rule {
            line: self,
            description,
            command,
            skipped: [0; 4],
        })
    }

    fn matching(&self, request: &KeyRequest<'_>) -> Match<'_> {
        if self.too_long {
            return Match::Unreadable;
        }
        let mut rest = self.text.as_str();
        let mut skipped = [0; 4];
        let mut description = "";
        let texts = ["create", request.key_type, request.description, request.callout];
        for (column, (text, skip)) in texts.into_iter().zip(&mut skipped).enumerate() {
            let Some((pattern, after)) = rest.split_once(blank) else { return Match::Unreadable };
            let Some(skips) = skips(pattern, text) else { return Match::No };
            *skip = skips;
            if column == 2 {
                description = pattern;
            }
            rest = after.trim_start_matches(blank);
        }
        let command: Vec<&str> = rest.split(blank).filter(|word| !word.is_empty()).collect();
        if command.is_empty() {
            return Match::Unreadable;
        }
        Match::Rule(Rule { line: self, description, command, skipped })
    }
}

fn blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// Number of characters of `text` that the wildcard in `pattern` stands for; `None` if they do not match.
pub(super) fn skips(pattern: &str, text: &str) -> Option<usize> {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let Some(asterisk) = pattern.iter().position(|&byte| byte == b'*') else {
        return (pattern == text).then_some(0);
    };
    let (before, after) = (pattern.get(..asterisk)?, pattern.get(asterisk + 1..)?);
    let end = if before.is_empty() { after } else { pattern.get(..after.len())? };
    let skipped = text.len().checked_sub(before.len() + after.len())?;
    (text.starts_with(before) && text.ends_with(end)).then_some(skipped)
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
