//! One failed upcall.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::stage::Stage;
use crate::class::classes;
use crate::text::{SHOWN_LIMIT, cut, one_line};

/// One failed upcall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{stage}: {detail}")]
pub struct Failure {
    /// The step that failed.
    pub stage: Stage,
    /// Why it failed.
    pub cause: Cause,
    /// Details for the log: names, addresses, the library's message. One line, nothing secret.
    pub detail: String,
    /// GSS major status, 0 if GSS had no part in it (RFC 2743 §1.2.1.1).
    pub gss_major: u32,
    /// Whether it is due to the ticket that a KDC was asked with, so that another of the same realm may serve. Known only in the
    /// process that asked.
    #[serde(skip)]
    pub of_ticket: bool,
}

impl Failure {
    /// A failure outside GSS.
    pub fn new(stage: Stage, cause: Cause, detail: impl fmt::Display) -> Self {
        Self { stage, cause, detail: one_line(&detail.to_string()), gss_major: 0, of_ticket: false }
    }

    /// The same with the GSS major status that came with it.
    #[must_use]
    pub fn with_gss_major(self, gss_major: u32) -> Self {
        Self { gss_major, ..self }
    }

    /// The same with a remark; a long detail is cut to make room.
    #[must_use]
    pub fn with_remark(self, remark: &str) -> Self {
        let room = SHOWN_LIMIT.saturating_sub(remark.len() + "; ".len());
        let detail = format!("{}; {remark}", cut(&self.detail, room));
        Self { detail: one_line(&detail), ..self }
    }

    /// The same with a detail that is safe to log whatever its origin: printable, on one line, short.
    #[must_use]
    pub fn sanitised(self) -> Self {
        Self { detail: one_line(&self.detail), ..self }
    }
}

classes!(Failure { stage: public, cause: public, detail: public, gss_major: public, of_ticket: unwritten });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_cannot_forge_a_second_log_line_or_flood_the_log() {
        let failure =
            Failure::new(Stage::Kdc, Cause::KdcDown, format!("a\nlgss: forged\x1b[2J{}", "é".repeat(900)));
        assert!(!failure.detail.contains(['\n', '\x1b']));
        assert!(failure.detail.len() <= SHOWN_LIMIT);
    }
}
