//! The machine's credentials for Lustre: finds in root's default cache, our own cache or the keytab what a request
//! needs, and gets a ticket-granting ticket by the keytab where there is none.
//!
//! Called by the worker in three stages: [`choose`] reads the caches and the keytab that it was handed,
//! [`MachineChoice::account`] may ask a KDC for a ticket-granting ticket, [`MachineAccount::account`] for the
//! service's ticket. Invariant: the worker cannot write to any cache, so all tickets stay in its memory, and
//! [`MachineAccount::update`] returns them for the monitor to store. No other cache or keytab is looked at.

mod account;
mod keytab;
mod rules;

use std::fmt;

use crate::creds::ticket::{CacheNames, unusable};
use crate::ctx::lustre::Roles;
use crate::event::{Cause, Failure, Stage};
use crate::gss::krb5::Library;
use crate::gss::status::{Krb5Error, Krb5Reason};
use crate::gss::ticket::Cache;
use crate::time::now;
pub(crate) use account::Basis;
pub use account::MachineAccount;
use account::setup;
use keytab::KeytabPrincipals;
use rules::{Acceptable, good};

/// What the machine asks for, and as whom.
#[derive(Debug, Clone)]
pub struct MachineRequest {
    /// The roles in which it asks.
    pub roles: Roles,
    /// Its realm; `None` for the default realm of krb5.conf.
    pub realm: Option<String>,
    /// Its fully qualified host name; `None` while it has not been looked up: any will do.
    pub host: Option<String>,
    /// The only principal that may be used as a client's root; a realm in it overrides `realm`. Servers use the
    /// principals of their roles.
    pub principal: Option<String>,
}

/// A cache or keytab that was opened for the worker; else its name and why it was not opened.
pub type Offered = Result<CacheNames, String>;

/// Where credentials may be, in the order of preference.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Root's default cache.
    pub default_cache: Offered,
    /// Our own cache, with what [`MachineAccount::update`] returned last.
    pub own_cache: Offered,
    /// The keytab.
    pub keytab: Offered,
}

/// The credentials that will be used.
#[derive(Debug)]
pub enum MachineChoice {
    /// A cache with a good ticket-granting ticket.
    Ready(MachineAccount),
    /// Keys to get a ticket-granting ticket with.
    Keytab(KeytabPrincipals),
}

/// Looks for acceptable credentials, without the network.
///
/// # Errors
/// [`Failure`] of the stage `Credentials`: `NoMachineCredential`, which says what is wanted and what was found;
/// `Setup`.
pub fn choose(request: &MachineRequest, sources: &Sources) -> Result<MachineChoice, Failure> {
    let library = Library::open().map_err(unusable)?;
    let acceptable = acceptable(request, &library)?;
    let mut found = Vec::new();
    for (basis, offered) in
        [(Basis::DefaultCache, &sources.default_cache), (Basis::OwnCache, &sources.own_cache)]
    {
        let account = offered.clone().and_then(|name| from_cache(&library, &name, basis, &acceptable));
        match account {
            Ok(account) => return Ok(MachineChoice::Ready(account)),
            Err(objection) => found.push(objection),
        }
    }
    match sources.keytab.clone().and_then(|name| KeytabPrincipals::find(&library, name, &acceptable)) {
        Ok(candidates) => return Ok(MachineChoice::Keytab(candidates)),
        Err(objection) => found.push(objection),
    }
    let detail = format!("wanted {acceptable}; found {}", found.join("; "));
    Err(Failure::new(Stage::Credentials, Cause::NoMachineCredential, detail))
}

/// Host names in the principals that would do if they named this host, each once, in lower case. The host's own name
/// need only be found if there are any. A cache or keytab that cannot be read has none.
pub(crate) fn hosts(request: &MachineRequest, sources: &Sources) -> Vec<String> {
    let anywhere = MachineRequest { host: None, ..request.clone() };
    let Ok(library) = Library::open() else { return Vec::new() };
    let Ok(acceptable) = acceptable(&anywhere, &library) else { return Vec::new() };
    let of_cache = |name: &CacheNames| Cache::resolve(&library, &name.library)?.principal();
    let caches = [&sources.default_cache, &sources.own_cache].into_iter().filter_map(|it| it.as_ref().ok());
    let mut principals: Vec<_> = caches.filter_map(|name| of_cache(name).ok()).collect();
    if let Ok(keytab) = &sources.keytab {
        principals.extend(keytab::principals(&library, keytab));
    }
    let named = principals.iter().filter_map(|principal| acceptable.host_of(&principal.name()));
    let mut hosts: Vec<_> = named.collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

impl MachineChoice {
    /// The account; if it has no ticket-granting ticket yet, a KDC is asked for one.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Kdc`: `KeytabRefused`, `ClockSkew`, `KdcDown`, `KdcSilent` and others.
    pub fn account(self) -> Result<MachineAccount, Failure> {
        match self {
            Self::Ready(account) => Ok(account),
            Self::Keytab(candidates) => candidates.account(),
        }
    }

    /// The failure if a KDC does not answer [`MachineChoice::account`] in time.
    pub fn silent(&self) -> Failure {
        Failure::new(Stage::Kdc, Cause::KdcSilent, format_args!("{self}: no answer in time"))
    }
}

impl fmt::Display for MachineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(account) => account.fmt(f),
            Self::Keytab(candidates) => candidates.fmt(f),
        }
    }
}

fn acceptable(request: &MachineRequest, library: &Library) -> Result<Acceptable, Failure> {
    let Roles { root, mdt, ost } = request.roles;
    let realm = match &request.realm {
        Some(realm) => Ok(realm.clone()),
        None => library.default_realm(),
    };
    let named = request.principal.as_deref().filter(|_| root && !mdt && !ost);
    let only = match (named, &realm) {
        (Some(name), Ok(realm)) if !name.contains('@') => Some(format!("{name}@{realm}")),
        (named, _) => named.map(str::to_owned),
    };
    let only = only.map(|name| library.principal(&name)).transpose().map_err(|error| setup(&error))?;
    let only = only.map(|principal| principal.name());
    let realm = match &only {
        Some(name) => name.realm.clone(),
        None => realm.map_err(|error| setup(&error))?,
    };
    Ok(Acceptable { realm, roles: request.roles, host: request.host.clone(), only })
}

/// The account of a cache, copied to memory; else why the cache cannot be used.
fn from_cache(
    library: &Library,
    name: &CacheNames,
    basis: Basis,
    acceptable: &Acceptable,
) -> Result<MachineAccount, String> {
    let display = &name.display;
    let failed = |error: Krb5Error| match error.reason() {
        Krb5Reason::NoCache => format!("{display}: no cache"),
        _ => format!("{display}: {}", name.in_words(&error.message)),
    };
    let cache = Cache::resolve(library, &name.library).map_err(failed)?;
    let client = cache.principal().map_err(failed)?;
    if !acceptable.accepts(&client.name()) {
        return Err(format!("{display}: {client}"));
    }
    let tickets = cache.granting(&client.name().realm).map_err(failed)?;
    let mut objection = "no ticket-granting ticket".to_owned();
    let usable = tickets.into_iter().any(|ticket| match good(ticket, now()) {
        Ok(()) => true,
        Err(reason) => {
            objection = reason;
            false
        }
    });
    if !usable {
        return Err(format!("{display}: {client}: {objection}"));
    }
    let memory = cache.in_memory().map_err(failed)?;
    MachineAccount::new(library, memory, display.clone(), client, basis).map_err(failed)
}
