//! Completion of the command line, of values too: contexts that there are, services, users, names of caches.
//!
//! The shell's function, which `lgss completion` prints, starts `lgss` with [`VARIABLE`] set and the words typed so far; it
//! answers with what may stand there. Nothing is changed by that, and no request is made.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;

use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use nix::unistd::geteuid;

use super::list::possess_more;
use super::programs;
use super::report::Report;
use super::{Terminal, list};
use crate::ctx::visible;
use crate::text::escaped;

/// Tells `lgss` that a shell wants words completed; its value names the shell.
const VARIABLE: &str = "LGSS_COMPLETE";
/// Most users that are offered.
const USERS_LIMIT: usize = 500;

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

/// Contexts that the caller sees, by number.
pub(super) fn keys() -> Vec<CompletionCandidate> {
    possess_more();
    let contexts = visible::contexts();
    let reports = contexts.iter().filter_map(Report::of_visible);
    reports
        .map(|report| {
            let help = format!("{}, {}", escaped(report.service()), list::state(&report));
            CompletionCandidate::new(report.serial.to_string()).help(Some(help.into()))
        })
        .collect()
}

/// Services that the caller has contexts with.
pub(super) fn services() -> Vec<CompletionCandidate> {
    let contexts = visible::contexts();
    let services: BTreeSet<String> =
        contexts.iter().map(|context| context.description.service.to_string()).collect();
    services.into_iter().map(CompletionCandidate::new).collect()
}

/// Those of /etc/passwd: a name service may have very many.
pub(super) fn users() -> Vec<CompletionCandidate> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let names = passwd.lines().filter_map(|line| line.split(':').next()).take(USERS_LIMIT);
    names.map(CompletionCandidate::new).collect()
}

/// Types of caches, and where they usually are.
pub(super) fn caches() -> Vec<CompletionCandidate> {
    let uid = geteuid();
    let named = [
        (format!("FILE:/tmp/krb5cc_{uid}"), "a file"),
        (format!("DIR:/run/user/{uid}/krb5cc"), "a directory of caches"),
        ("KCM:".to_owned(), "caches of a daemon"),
        (format!("KEYRING:persistent:{uid}"), "the persistent keyring"),
        ("KEYRING:session:".to_owned(), "the session keyring"),
        ("KEYRING:user:".to_owned(), "the user keyring"),
    ];
    named.into_iter().map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into()))).collect()
}

/// Levels of protection, by all their names.
pub(super) fn levels() -> Vec<CompletionCandidate> {
    super::values::LEVELS
        .iter()
        .flat_map(|(_, names, help)| {
            names.iter().map(|name| CompletionCandidate::new(*name).help(Some((*help).into())))
        })
        .collect()
}
