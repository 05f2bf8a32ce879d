//! The conversation with one caller: what every step of it may do.

use std::io;
use std::time::{Duration, Instant};

use super::caller::Caller;
use crate::provider::Undone;
use crate::provider::pipe::{HelperReply, Pipe, PipeError};
use crate::system_log::{LogSeverity, SystemLog};

/// How long a caller may take to read the answer.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The conversation with one caller.
pub(super) struct HelperSession {
    pub pipe: Pipe<io::Stdin, io::Stdout>,
    pub caller: Caller,
    pub log: SystemLog,
}

/// Why a conversation ended early; the caller has been told if it listens.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error(transparent)]
    Pipe(#[from] PipeError),
    #[error("it was refused")]
    Refused,
}

impl HelperSession {
    /// Logs a refusal, then tells the caller, who may not listen and until now may end this process.
    pub(super) fn refuse(&mut self, refusal: Undone) -> Ending {
        self.note(LogSeverity::Warning, &format!("refused: {refusal}"));
        let _ = self.pipe.answer(&HelperReply::<()>::Refusal(refusal), Instant::now() + ANSWER_LIMIT);
        Ending::Refused
    }

    pub(super) fn note(&self, severity: LogSeverity, what: &str) {
        self.log.write_patiently(severity, &format!("uid {}: {what}", self.caller.uid()));
    }
}
