//! `lgss caches`: a user's credentials, in the order in which the upcall would use them.
//!
//! Invariant: looking changes nothing: no ticket is got, no KDC is asked, no keyring is made.

#[cfg(feature = "test-programs")]
pub(super) mod fuzz;
mod looking;
mod namespace;
mod progress;
mod ranked;
mod row;

use std::io;

use super::arguments::CachesArgs;
use super::exit::Exit;
use super::whose::Whose;
use super::{config, list};
use crate::creds::search::has_session;
use crate::ctx::initiator::Principal;
use crate::ctx::request::Service;
use crate::ctx::rings::{self, Session};
use crate::gss::krb5::Library;
use crate::gss::krb5_conf::{self, ConfReader};
use crate::gss::ticket::Cache;
use crate::terminal::{Terminal, results};
use looking::look;
use ranked::Ranked;

const CACHES_UNSEEN: &str = "\
lgss: not shown: KRB5CCNAME in this user's programs, and the keyrings of its sessions, processes and threads";

pub(super) fn run(caches: &CachesArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let whose = match Whose::of(caches.user.as_deref()) {
        Ok(whose) => whose,
        Err(why) => {
            writeln!(terminal.err, "lgss: {why}")?;
            return Ok(Exit::Unreadable);
        }
    };
    let config = match config::of_user(caches.config.as_deref(), whose.uid(), caches.target.as_ref()) {
        Ok(config) => config,
        Err(error) => {
            writeln!(terminal.err, "lgss: {error}")?;
            let command = config::check_command(caches.config.as_deref());
            writeln!(terminal.err, "  try:    {command}, which says more")?;
            return Ok(Exit::Broken);
        }
    };
    if !whose.is_caller() {
        writeln!(terminal.err, "{CACHES_UNSEEN}")?;
    } else if has_session(whose.uid()) && matches!(rings::session(), Session::Dead(_)) {
        list::report_foreign_session(terminal)?;
    }
    let found = match look(whose, &config, caches.target.as_ref()) {
        Ok(found) => found,
        Err(error) => {
            writeln!(terminal.err, "lgss: the caches could not be looked at: {error}")?;
            return Ok(Exit::Broken);
        }
    };
    if let Some(fault) = krb5_conf::faults(&config.krb5_config, ConfReader::Ourselves).first() {
        writeln!(terminal.err, "lgss: krb5.conf: {fault}")?;
    }
    let ranked = Ranked::new(whose.uid(), caches.target.as_ref(), found);
    if caches.json {
        results::json(&ranked, terminal.out)?;
    } else {
        ranked.print(terminal)?;
    }
    Ok(ranked.exit())
}

/// The principal that a new context with this service would speak for: the upcall's choice now.
pub(super) fn expected_principal(service: &Service) -> Option<Principal> {
    let whose = Whose::of(None).ok()?;
    let config = config::of_user(None, whose.uid(), Some(service)).ok()?;
    let found = look(whose, &config, Some(service)).ok()?;
    Ranked::new(whose.uid(), Some(service), found).expected_principal()
}

/// The principal whose tickets a cache holds.
pub(super) fn principal_of(cache: &str) -> Option<Principal> {
    let library = Library::open().ok()?;
    let client = Cache::resolve(&library, cache).and_then(|cache| cache.principal()).ok()?;
    Principal::new(&client.to_string())
}
