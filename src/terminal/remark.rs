//! Lines on standard error beside the work, and what is said of a command line.
//!
//! Invariant: a line that cannot be written, since its reader has gone or the disk is full, stops nothing.

use std::fmt::Display;
use std::io::Write;

use super::Terminal;
use crate::text::escaped_lines;

/// Writes a line with the program's name before it.
pub(crate) fn remark(program: &str, err: &mut dyn Write, what: impl Display) {
    // There is no way left to report that this fails.
    let _ = writeln!(err, "{program}: {what}");
}

/// Writes what has failed and, if something can be done about it, what.
pub(crate) fn complain(program: &str, err: &mut dyn Write, failure: impl Display, remedy: Option<String>) {
    match remedy {
        Some(remedy) => remark(program, err, format_args!("{failure}\n  try:    {remedy}")),
        None => remark(program, err, failure),
    }
}

/// How a command line was answered that asks for nothing to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// By help or version.
    Help,
    /// By what is wrong with it.
    Misuse,
}

/// Writes help and version, or what is wrong with the command line.
pub(crate) fn answer(error: &clap::Error, terminal: &mut Terminal<'_>) -> Answered {
    let (stream, answered): (&mut dyn Write, _) = match error.use_stderr() {
        true => (terminal.err, Answered::Misuse),
        false => (terminal.out, Answered::Help),
    };
    // The command line may have come from names of files that somebody else has chosen. A reader that leaves early is no
    // error.
    let _ = write!(stream, "{}", escaped_lines(&error.render().to_string()));
    answered
}
