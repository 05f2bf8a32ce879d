//! Completion of the command line, including values (candidates.rs).
//!
//! `lgss completion` prints a shell function, which starts `lgss` with [`VARIABLE`] set and the words typed so far; `lgss`
//! answers with the possible words. Invariant: nothing is changed, and no request is made.

use std::ffi::OsString;
use std::io;

use clap_complete::CompleteEnv;
use clap_complete::env::Shells;

use super::programs;
use crate::terminal::Terminal;

/// Set by a shell that wants words completed; its value names the shell.
const VARIABLE: &str = "LGSS_COMPLETE";

/// Answers a shell that wants words completed; false if there is none.
pub(super) fn answered(arguments: &[OsString]) -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let directory = std::env::current_dir().ok();
    let shell = CompleteEnv::with_factory(programs::lgss).var(VARIABLE);
    // Errors are not shown: they would only disturb somebody who is typing.
    shell.try_complete(arguments.iter().cloned(), directory.as_deref()).unwrap_or(true)
}

/// Prints the completion function for a shell.
pub(super) fn print(shell: &str, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let shells = Shells::builtins();
    let Some(known) = shells.completer(shell) else { return Ok(()) };
    known.write_registration(VARIABLE, "lgss", "lgss", "lgss", terminal.out)
}
