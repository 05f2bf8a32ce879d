//! `lgss_agent`: a server of credential caches (KCM) for one user, as that user.
//!
//! Called by src/bin/lgss_agent.rs. [`start`] makes the process fit to hold secrets, [`serve`] is its loop; requests are
//! parsed in [`codec`], done in [`operations`], and every change passes [`change`]. Invariant: it is never root, it believes
//! only the kernel about who connects, and what it has acknowledged is as safe as its storage.
#![forbid(unsafe_code)]

mod arguments;
mod cache;
mod change;
mod codec;
mod collections;
mod confinement;
mod connection;
mod deadlines;
mod expiry;
#[cfg(feature = "test-programs")]
pub mod fuzz;
mod intake;
mod journal;
mod limits;
mod lock;
mod operations;
mod peer;
mod persistent;
mod renewal;
mod serve;
mod start;
mod telling;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use arguments::AgentCommand;

const HELP: &str = "\
lgss_agent: keeps a user's Kerberos credential caches (KCM)

Usage:
  lgss_agent --socket PATH [--config FILE]             takes connections at a socket that it makes
  lgss_agent [--config FILE]                           takes connections at a socket of systemd's (LISTEN_FDS)
  lgss_agent --door N --for-uid UID [--config FILE]    takes connections from lgss_kcm, which starts it so

  --socket PATH   for krb5.conf: kcm_socket = PATH
  --door N        descriptor of a socket to lgss_kcm
  --for-uid UID   the user whose connections are taken; without it, the one who runs it
  --config FILE   settings, instead of /etc/lgss/lgss.toml
  --version       what this is
  --help          this text

See lgss_agent(8).";

/// Exit statuses.
const FAILED: u8 = 1;
const MISUSED: u8 = 2;

/// Runs the program. `words` are those of the command line, the program's name first.
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let mut err = std::io::stderr();
    match AgentCommand::parse(words.skip(1), |name| std::env::var_os(name)) {
        Ok(AgentCommand::Help) => say(HELP),
        Ok(AgentCommand::Version) => say(concat!("lgss_agent ", env!("CARGO_PKG_VERSION"))),
        Ok(AgentCommand::Serve(arguments)) => match start::start(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let _ = writeln!(err, "lgss_agent: {failure}");
                ExitCode::from(FAILED)
            }
        },
        Err(misuse) => {
            let _ = writeln!(err, "lgss_agent: {misuse}; see lgss_agent --help");
            ExitCode::from(MISUSED)
        }
    }
}

fn say(text: &str) -> ExitCode {
    let written = writeln!(std::io::stdout(), "{text}");
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}
