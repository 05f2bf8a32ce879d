//! `lgss caches`: the credentials of a user in the order in which the upcall would use them.
//!
//! Invariant: nothing is changed by looking: no ticket is got, no KDC is asked, no keyring is made.

mod looking;
mod namespace;
mod progress;
mod ranked;

use std::io;

use super::arguments::Caches;
use super::exit::Exit;
use super::whose::Whose;
use super::{Terminal, config, words};
use looking::look;
use ranked::Ranked;

const UNSEEN: &str = "\
lgss: not seen: KRB5CCNAME in this user's programs, and the keyrings of its sessions, processes and threads";

pub(super) fn run(caches: &Caches, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let config = match config::in_effect(caches.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            writeln!(terminal.err, "lgss: {error}")?;
            writeln!(terminal.err, "  try:    lgss config check, which says more")?;
            return Ok(Exit::Broken);
        }
    };
    let whose = match Whose::of(caches.user.as_deref()) {
        Ok(whose) => whose,
        Err(why) => {
            writeln!(terminal.err, "lgss: {why}")?;
            return Ok(Exit::Unreadable);
        }
    };
    if !whose.is_caller() {
        writeln!(terminal.err, "{UNSEEN}")?;
    }
    let found = match look(whose, &config, caches.target.as_ref()) {
        Ok(found) => found,
        Err(error) => {
            writeln!(terminal.err, "lgss: the caches could not be looked at: {error}")?;
            return Ok(Exit::Broken);
        }
    };
    let ranked = Ranked::new(whose.uid(), caches.target.as_ref(), found);
    if caches.json {
        words::json(&ranked, terminal.out)?;
    } else {
        ranked.print(terminal)?;
    }
    Ok(ranked.exit())
}
