//! A line on the terminal during a wait: what for, and for how long already.
//!
//! Only where a person looks: on standard error if that is a terminal, and never beside JSON.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shorter waits show no line.
const QUIET: Duration = Duration::from_millis(700);
/// Interval between two updates.
pub(crate) const STEP: Duration = Duration::from_millis(250);
/// Moves to the beginning of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// The line, shown or not.
pub(crate) struct WaitLine {
    since: Instant,
    wanted: bool,
    shown: bool,
}

impl WaitLine {
    /// No line is shown beside JSON.
    pub(crate) fn new(output: Output) -> Self {
        let wanted = output == Output::Text && io::stderr().is_terminal();
        Self { since: Instant::now(), wanted, shown: false }
    }

    /// Whether a line may be shown.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Updates the line: what is waited for, for how long already, and what interrupts the wait.
    pub(crate) fn show(&mut self, what: &str, interrupt: &str, err: &mut dyn Write) -> io::Result<()> {
        let waited = self.since.elapsed();
        if !self.wanted || waited < QUIET {
            return Ok(());
        }
        self.shown = true;
        write!(err, "{CLEAR}{}", text(what, waited, interrupt))?;
        err.flush()
    }

    /// Removes the line.
    pub(crate) fn end(&mut self, err: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.shown) {
            write!(err, "{CLEAR}").and_then(|()| err.flush())
        } else {
            Ok(())
        }
    }
}

/// The line's words.
pub(crate) fn text(what: &str, waited: Duration, interrupt: &str) -> String {
    format!("{what}: {} s, {interrupt}", waited.as_secs())
}

/// Form of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Text,
    Json,
}
