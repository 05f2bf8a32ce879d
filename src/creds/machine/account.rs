//! A principal of the machine with a ticket-granting ticket, and the tickets that it has got since.

use std::fmt;

use super::rules::good_until;
use crate::creds::ticket::{CacheNames, ClientAccount};
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

/// A principal of the machine with a ticket-granting ticket.
#[derive(Debug)]
pub struct MachineAccount {
    // Dropped before the memory that it refers to.
    account: ClientAccount,
    _memory: PrivateCache,
    basis: Basis,
    /// The tickets before any request, as a FILE cache.
    inherited: Option<Secret>,
}

impl MachineAccount {
    /// The account that gets tickets for services, and replaces them, in memory.
    pub fn account(&self) -> &ClientAccount {
        &self.account
    }

    /// Where the account comes from.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Until when other requests can use these tickets too, in seconds since the epoch.
    pub fn good_until(&self) -> u32 {
        let realm = self.account.client().name().realm;
        let tickets = self.account.cache().granting(&realm).unwrap_or_default();
        tickets.into_iter().map(good_until).max().unwrap_or_default()
    }

    /// All its tickets that have not expired, as the bytes of a FILE cache (version 4); `None` if no ticket has
    /// changed, so that there is nothing to store. With [`Basis::DefaultCache`] they may replace root's default
    /// cache, else they are to be our own cache.
    ///
    /// # Errors
    /// [`Failure`] with `Setup`. The account remains usable.
    pub fn update(&self) -> Result<Option<Secret>, Failure> {
        let cache = self.account.cache();
        if let Some(inherited) = &self.inherited
            && cache.as_file(0).map_err(|error| setup(&error))?.expose() == inherited.expose()
        {
            return Ok(None);
        }
        cache.as_file(now()).map(Some).map_err(|error| setup(&error))
    }

    /// The account of the client of a cache in memory.
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
        let account = ClientAccount::of(library, cache, name, client)?;
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
