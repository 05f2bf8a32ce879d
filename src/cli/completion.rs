//! Completion of the command line, of values too (candidates.rs).
//!
//! The shell's function, which `lgss completion` prints, starts `lgss` with [`VARIABLE`] set and the words typed so far; it
//! answers with what may stand there. Nothing is changed by that, and no request is made.

use std::ffi::OsString;
use std::io;

use clap_complete::CompleteEnv;
use clap_complete::env::Shells;

use super::programs;
use super::terminal::Terminal;

/// Tells `lgss` that a shell wants words completed; its value names the shell.
const VARIABLE: &str = "LGSS_COMPLETE";

/// Answers a shell; whether there was one.
pub(super) fn answered(arguments: &[OsString]) -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let directory = std::env::current_dir().ok();
    let shell = CompleteEnv::with_factory(programs::lgss).var(VARIABLE);
    // What goes wrong here would only stand in the way of somebody who is typing.
    shell.try_complete(arguments.iter().cloned(), directory.as_deref()).unwrap_or(true)
}

/// Prints the function of a shell.
pub(super) fn print(shell: &str, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let shells = Shells::builtins();
    let Some(known) = shells.completer(shell) else { return Ok(()) };
    known.write_registration(VARIABLE, "lgss", "lgss", "lgss", terminal.out)
}
