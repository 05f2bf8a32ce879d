//! Result of one check: how severe, of which part, and what to do.

use std::borrow::Cow;
use std::fmt::Display;
#[cfg(feature = "tools")]
use std::io;

use serde::{Deserialize, Serialize};

use crate::event::one_line;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// It works, at least mostly.
    Warning,
    /// Requests fail, or go elsewhere.
    Error,
}

/// One finding.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    #[serde(rename = "level")]
    pub(crate) severity: Severity,
    /// The setting or part that was checked.
    pub(crate) subject: Cow<'static, str>,
    /// On one line, printable.
    pub(crate) finding: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

impl Finding {
    pub(crate) fn ok(subject: &'static str, finding: impl Display) -> Self {
        Self {
            severity: Severity::Ok,
            subject: subject.into(),
            finding: one_line(&finding.to_string()),
            remedy: None,
        }
    }

    pub(crate) fn warning(subject: &'static str, finding: impl Display, remedy: impl Display) -> Self {
        Self {
            severity: Severity::Warning,
            remedy: Some(one_line(&remedy.to_string())),
            ..Self::ok(subject, finding)
        }
    }

    pub(crate) fn error(subject: &'static str, finding: impl Display, remedy: impl Display) -> Self {
        Self { severity: Severity::Error, ..Self::warning(subject, finding, remedy) }
    }

    /// Prints it for people, the remedy on a line of its own.
    #[cfg(feature = "tools")]
    pub(crate) fn print(&self, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "{}", self.head())?;
        self.remedy.iter().try_for_each(|remedy| writeln!(out, "{:<8} {:<13} {remedy}", "", "try:"))
    }

    /// The whole finding on one line, the severity as its first word.
    pub(crate) fn line(&self) -> String {
        let remedy = self.remedy.as_ref().map_or(String::new(), |remedy| format!("; try: {remedy}"));
        format!("{}{remedy}", self.head())
    }

    fn head(&self) -> String {
        let severity = match self.severity {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        format!("{severity:<8} {:<13} {}", self.subject, self.finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_one_line_whatever_is_in_it() {
        let finding = Finding::error("worker", "/a\nb is absent", "install\nit");
        assert_eq!(finding.line(), "error    worker        /a\\nb is absent; try: install\\nit");
        assert_eq!(Finding::ok("run_dir", "/run/lgss").line(), "ok       run_dir       /run/lgss");
    }
}
