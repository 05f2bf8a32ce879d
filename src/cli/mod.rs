//! The `lgss` command: gets, shows and ends contexts, shows credentials, checks the installation. Its text is for people; `--json` and the
//! exit status are for programs.
//!
//! Called by src/bin/lgss.rs. Invariant: no output ever contains key bytes, and a reader that leaves early
//! (`lgss show … | head`) is no error.
#![forbid(unsafe_code)]

pub(crate) mod arguments;
mod caches;
mod candidates;
mod completion;
mod config;
pub(crate) mod exit;
mod flush;
mod forwarded;
#[cfg(feature = "test-programs")]
pub mod fuzz;
mod get;
mod hook;
mod list;
mod log;
mod machine_tickets;
mod outcome;
pub mod programs;
mod show;
mod values;
mod whose;
mod words;

use std::ffi::OsString;
use std::io::{self, ErrorKind};

use clap::Parser;

use crate::terminal::Terminal;
use crate::text::escaped_lines;
use arguments::{Arguments, Command, ConfigCommand, HookCommand};
use exit::Exit;

/// Runs the command of `arguments`, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if completion::answered(&arguments) {
        return Exit::Ok;
    }
    match try_run(arguments, terminal) {
        Ok(exit) => exit,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            // If this fails too, there is no way left to report it.
            let _ = writeln!(terminal.err, "lgss: cannot write the result: {error}");
            Exit::Broken
        }
    }
}

fn try_run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments { command }) => run_command(command, terminal),
        Err(error) if error.use_stderr() => {
            write!(terminal.err, "{}", escaped_lines(&error.render().to_string()))?;
            Ok(Exit::Usage)
        }
        Err(help_or_version) => {
            write!(terminal.out, "{}", help_or_version.render())?;
            Ok(Exit::Ok)
        }
    }
}

fn run_command(command: Command, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    match command {
        Command::Get(get) => get::run(&get, terminal),
        Command::Show(show) => show::run(&show, terminal),
        Command::List(list) => list::run(&list, terminal),
        Command::Flush(flush) => flush::run(&flush, terminal),
        Command::Caches(caches) => caches::run(&caches, terminal),
        Command::Log(log) => log::run(&log, terminal),
        Command::Config(ConfigCommand::Show(show)) => config::show::run(&show, terminal),
        Command::Config(ConfigCommand::Check(check)) => config::check::run(&check, terminal),
        Command::Hook(HookCommand::Run(run)) => hook::run(&run, terminal),
        Command::Completion(shell) => completion::print(&shell.shell, terminal).map(|()| Exit::Ok),
    }
}
