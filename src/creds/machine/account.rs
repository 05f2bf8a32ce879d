//! A principal of the node with a ticket-granting ticket, and the tickets that it has got since.

use std::fmt;

use super::rules::good_until;
use crate::creds::ticket::{Account, CacheNames};
use crate::event::{Cause, Failure, Stage};
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::Krb5Error;
use crate::secret::Secret;
use crate::time::now;

/// Where an account comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Root's default cache.
    DefaultCache,
    /// Our own cache.
    OwnCache,
    /// A key of the keytab.
    Keytab,
}

/// A principal of the node with a ticket-granting ticket.
#[derive(Debug)]
pub struct MachineAccount {
    // Before the memory that it refers to.
    account: Account,
    _memory: PrivateCache,
    basis: Basis,
    /// The tickets at the start, before any request.
    inherited: Option<Secret>,
}

impl MachineAccount {
    /// What gets tickets for services, keeping them in memory, and replaces them there.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Where it comes from.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Until when other requests can use what is there as well, seconds since the epoch.
    pub fn good_until(&self) -> u32 {
        let realm = self.account.client().name().realm;
        let tickets = self.account.cache().granting(&realm).unwrap_or_default();
        tickets.into_iter().map(good_until).max().unwrap_or_default()
    }

    /// All its tickets as the bytes of a FILE cache (version 4), those that have ended left out; `None` if they are
    /// what they were, so that there is nothing to store. With [`Basis::DefaultCache`] they are what root's default
    /// cache may be replaced with, and otherwise what our own cache is to be.
    ///
    /// # Errors
    /// [`Failure`] with `Setup`. The account is as usable as before.
    pub fn update(&self) -> Result<Option<Secret>, Failure> {
        let cache = self.account.cache();
        if let Some(inherited) = &self.inherited
            && cache.as_file(0).map_err(|error| setup(&error))?.expose() == inherited.expose()
        {
            return Ok(None);
        }
        cache.as_file(now()).map(Some).map_err(|error| setup(&error))
    }

    /// What a cache in memory holds for its client.
    pub(super) fn new(
        library: &Library,
        memory: PrivateCache,
        display: String,
        client: Krb5Principal,
        basis: Basis,
    ) -> Result<Self, Krb5Error> {
        let cache = memory.open()?;
        let inherited = if basis == Basis::Keytab { None } else { Some(cache.as_file(0)?) };
        let name = CacheNames { library: memory.text(), display };
        let account = Account::of(library, cache, name, client)?;
        Ok(Self { account, _memory: memory, basis, inherited })
    }
}

impl fmt::Display for MachineAccount {
    /// Principal and source, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.account.fmt(f)
    }
}

pub(super) fn setup(error: &Krb5Error) -> Failure {
    Failure::new(Stage::Credentials, Cause::Setup, format_args!("machine credentials: {error}"))
}
