//! `lgss_kcm`: the system's part of the credential cache server. It owns the socket that all users' programs know, and gives each
//! connection to the agent of the user who made it (docs/architecture.md).
//!
//! Two processes of one image. [`keeper`], the one that is started, may become any user but root: it starts agents and keeps
//! their doors. [`acceptor`], its child, has no right and reaches no file: it takes the connections, and talks to agents. If it
//! dies, the keeper starts another. Invariant: neither reads a byte of a connection, and neither waits for anybody but the other.
#![forbid(unsafe_code)]

mod acceptor;
mod children;
mod confinement;
mod doors;
mod failure;
mod keeper;
mod launch;
mod lines;
mod manager;
mod options;
mod orders;
mod restart;
mod served;
mod socket;
mod start;
mod visitors;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use options::KcmCommand;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the program with the words of its command line. The status is 0 after SIGTERM, 1 after a failure, 2 if the words make no
/// sense.
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    match options::read(words.collect()) {
        Ok(KcmCommand::Help) => say(&options::help()),
        Ok(KcmCommand::Version) => say(&format!("lgss_kcm {VERSION}\n")),
        Ok(KcmCommand::Serve(options)) => match start::prepare(*options) {
            Ok(keeper) => keeper.keep(),
            Err(failure) => complain(&failure.to_string(), 1),
        },
        Ok(KcmCommand::Try(options)) => match start::could_start(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                say(&failure.to_string());
                ExitCode::FAILURE
            }
        },
        Err(unclear) => complain(&format!("{unclear}; see lgss_kcm --help"), 2),
    }
}

fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(text: &str, status: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "lgss_kcm: {text}");
    ExitCode::from(status)
}
