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
use super::forwarded::refused;
use super::whose::Whose;
use super::{config, list};
use crate::creds::search::has_session;
use crate::ctx::initiator::Principal;
use crate::ctx::request::Service;
use crate::ctx::rings::{self, Session};
use crate::gss::krb5::Library;
use crate::gss::krb5_conf::{self, ConfReader};
use crate::gss::ticket::Cache;
use crate::provider::programs::ShowCaches;
use crate::provider::{Delegated, RootRights, Undone, perform};
use crate::terminal::{Terminal, results};
use looking::look;
use ranked::Ranked;
use row::FoundCaches;

const CACHES_UNSEEN: &str = "\
lgss: not shown: KRB5CCNAME in this user's programs, and the keyrings of its sessions, processes and threads";

pub(super) fn run(caches: &CachesArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let whose = match caches.user.as_deref().map_or(Ok(Whose::caller()), Whose::of) {
        Ok(whose) => whose,
        Err(why) => {
            writeln!(terminal.err, "lgss: {why}")?;
            return Ok(Exit::Unreadable);
        }
    };
    if !whose.is_caller() && RootRights::of_process().is_none() {
        return forwarded(whose, caches, terminal);
    }
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
    if caches.found {
        return results::json(&found, terminal.out).map(|()| Exit::Ok);
    }
    if let Some(fault) = krb5_conf::faults(&config.krb5_config, ConfReader::Ourselves).first() {
        writeln!(terminal.err, "lgss: krb5.conf: {fault}")?;
    }
    print(whose, caches, found, terminal)
}

fn print(
    whose: Whose,
    caches: &CachesArgs,
    found: FoundCaches,
    terminal: &mut Terminal<'_>,
) -> io::Result<Exit> {
    let ranked = Ranked::new(whose.uid(), caches.target.as_ref(), found);
    if caches.json {
        results::json(&ranked, terminal.out)?;
    } else {
        ranked.print(terminal)?;
    }
    Ok(ranked.exit())
}

/// Has lgss_helper look, for those whom it serves.
fn forwarded(whose: Whose, caches: &CachesArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let what = format!("credentials of uid {}", whose.uid());
    if caches.config.is_some() {
        let why = Undone::new(
            "--config for another user takes the rights of root",
            "leave out --config, or use sudo",
        );
        return refused(&what, &why, terminal);
    }
    let show = ShowCaches { uid: whose.uid(), target: caches.target.clone() };
    let found = perform(Delegated::of_command(show)).and_then(|found| {
        serde_json::from_value::<FoundCaches>(found).map_err(|_| {
            Undone::new(
                "lgss_helper's answer makes no sense",
                "install lgss and lgss_helper from one package",
            )
        })
    });
    match found {
        Ok(found) => {
            writeln!(terminal.err, "{CACHES_UNSEEN}")?;
            print(whose, caches, found, terminal)
        }
        Err(refusal) => refused(&what, &refusal, terminal),
    }
}

/// The principal that a new context with this service would speak for: the upcall's choice now.
pub(super) fn expected_principal(service: &Service) -> Option<Principal> {
    let whose = Whose::caller();
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
