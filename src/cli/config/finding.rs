//! Result of one check: how severe, of which part, and what to do.

use std::fmt::Display;
use std::io;

use serde::Serialize;

use crate::event::one_line;
use crate::terminal::Terminal;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// It works, at least mostly.
    Warning,
    /// Requests fail, or go elsewhere.
    Error,
}

/// One finding.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    #[serde(rename = "level")]
    pub(super) severity: Severity,
    /// The setting or part that was checked.
    pub(super) subject: &'static str,
    /// On one line, printable.
    pub(super) finding: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: &'static str, finding: impl Display) -> Self {
        Self { severity: Severity::Ok, subject, finding: one_line(&finding.to_string()), remedy: None }
    }

    pub(super) fn warning(subject: &'static str, finding: impl Display, remedy: impl Display) -> Self {
        Self {
            severity: Severity::Warning,
            remedy: Some(one_line(&remedy.to_string())),
            ..Self::ok(subject, finding)
        }
    }

    pub(super) fn error(subject: &'static str, finding: impl Display, remedy: impl Display) -> Self {
        Self { severity: Severity::Error, ..Self::warning(subject, finding, remedy) }
    }

    /// Prints it for people.
    pub(super) fn print(&self, terminal: &mut Terminal<'_>) -> io::Result<()> {
        let severity = match self.severity {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        writeln!(terminal.out, "{severity:<8} {:<13} {}", self.subject, self.finding)?;
        self.remedy.iter().try_for_each(|remedy| writeln!(terminal.out, "{:<8} {:<13} {remedy}", "", "try:"))
    }
}
