//! A user's keytab: a ticket-granting ticket in the memory of this process, for when no cache will do.

use std::time::Instant;

use super::ticket::{Account, CacheNames, cause_of};
use crate::config::Enctypes;
use crate::event::{Cause, Failure, Stage};
use crate::gss::keytab::Keytab;
use crate::gss::krb5::Library;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::Krb5Error;

/// Most entries that are looked at: all are the user's.
const ENTRY_LIMIT: usize = 256;

/// An account whose tickets are in memory, and that memory.
#[derive(Debug)]
pub struct KeytabAccount {
    // Before the memory that it refers to.
    account: Account,
    _memory: PrivateCache,
}

impl KeytabAccount {
    /// The principal of the first key, with a ticket-granting ticket: asks a KDC.
    ///
    /// # Errors
    /// [`Failure`]: `NoTicket` without a key, and those of the stage `Kdc`.
    pub fn of(library: &Library, name: CacheNames) -> Result<Self, Failure> {
        let unusable = |error: Krb5Error| {
            let detail = format!("{}: {}", name.shown(), name.in_words(&error.message));
            Failure::new(Stage::Credentials, Cause::BadCache, detail)
        };
        let keytab = Keytab::resolve(library, &name.library).map_err(unusable)?;
        let enctypes = library.permitted(Enctypes::default().as_slice()).map_err(unusable)?;
        let Some(entry) = keytab.entries(ENTRY_LIMIT).map_err(unusable)?.into_iter().next() else {
            let detail = format!("{}: no keys", name.shown());
            return Err(Failure::new(Stage::Credentials, Cause::NoTicket, detail));
        };
        let begun = Instant::now();
        let memory = keytab.ticket_granting(&entry.principal, &enctypes).map_err(|error| {
            let message = name.in_words(&error.message);
            let detail = format!("{} by {}: {message}", entry.principal, name.shown());
            Failure::new(Stage::Kdc, cause_of(&error, begun.elapsed()), detail)
        })?;
        let names = CacheNames { library: memory.text(), display: name.display.clone() };
        let account = Account::open(library, names)?;
        Ok(Self { account, _memory: memory })
    }

    /// What gets tickets for services.
    pub fn account(&self) -> &Account {
        &self.account
    }
}
