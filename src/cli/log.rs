//! `lgss log`: what the log of this machine says of upcalls and caches.

use std::io;

use super::arguments::LogArgs;
use super::exit::Exit;
use super::forwarded::refused;
use super::whose::Whose;
use crate::provider::log::ReadLog;
use crate::provider::{Delegated, perform};
use crate::terminal::{Terminal, results};

pub(super) fn run(log: &LogArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let uid = match log.user.as_deref().map(Whose::of).transpose() {
        Ok(whose) => whose.map(Whose::uid),
        Err(why) => {
            writeln!(terminal.err, "lgss: {why}")?;
            return Ok(Exit::Unreadable);
        }
    };
    let found = match perform(Delegated::of_command(ReadLog { uid, lines: log.lines })) {
        Ok(found) => found,
        Err(refusal) => return refused("the log", &refusal, terminal),
    };
    if log.json {
        results::json(&found, terminal.out)?;
    } else if found.lines.is_empty() {
        writeln!(terminal.err, "lgss: no such line in {}", found.place)?;
    } else {
        found.lines.iter().try_for_each(|line| writeln!(terminal.out, "{line}"))?;
    }
    Ok(Exit::Ok)
}
