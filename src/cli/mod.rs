//! `lgss`: get a context, look at one. What it prints is for people; `--json` and the exit status are for programs.
//!
//! Called by src/bin/lgss.rs. Invariant: key bytes never come into anything that is printed, and a reader that goes
//! away early (`lgss show … | head`) is no error.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod exit;
mod get;
mod report;
mod show;
mod words;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};

use clap::Parser;

use arguments::{Arguments, Command};
use exit::Exit;

/// Where a command writes: results to one, complaints to the other.
pub struct Terminal<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

/// Runs the command of `arguments`, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> Exit {
    match try_run(arguments, terminal) {
        Ok(exit) => exit,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            // Nobody is left to be told if this fails too.
            let _ = writeln!(terminal.err, "lgss: cannot write the result: {error}");
            Exit::Failed
        }
    }
}

fn try_run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments { command: Command::Get(get) }) => get::run(&get, terminal),
        Ok(Arguments { command: Command::Show(show) }) => show::run(&show, terminal),
        Err(error) if error.use_stderr() => {
            write!(terminal.err, "{}", error.render())?;
            Ok(Exit::Usage)
        }
        Err(help_or_version) => {
            write!(terminal.out, "{}", help_or_version.render())?;
            Ok(Exit::Ok)
        }
    }
}
