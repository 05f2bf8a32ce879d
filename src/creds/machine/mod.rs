//! The node's own credentials for Lustre: which of root's default cache, our own cache and the keytab has what a request
//! needs, and a ticket-granting ticket by the keytab where there is none.
//!
//! Called by the worker in three stages: [`choose`] reads what it was handed, [`Choice::account`] may ask a KDC for a
//! ticket-granting ticket, [`MachineAccount::account`] for the service's. Invariant: the worker can write nowhere, so
//! all tickets are in its memory; what it has got is handed out by [`MachineAccount::update`] for the monitor to store.
//! No cache and no keytab but those named is looked at.

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
use keytab::Candidates;
use rules::{Acceptable, good};

/// The node and what it asks for.
#[derive(Debug, Clone)]
pub struct Node {
    /// In which capacities it asks.
    pub roles: Roles,
    /// Its realm; `None` for the default realm of krb5.conf.
    pub realm: Option<String>,
    /// Its host name in full; `None` while that has not been asked for: any will do.
    pub host: Option<String>,
    /// The only principal that it shall be as a client's root; one with a realm has that, whatever `realm` is. Servers
    /// are what their role says.
    pub principal: Option<String>,
}

/// A cache or keytab as it was opened for the worker; else why not, with its name.
pub type Offered = Result<CacheNames, String>;

/// Where credentials may be, in the order in which they are looked at.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Root's default cache.
    pub default_cache: Offered,
    /// Ours, with what [`MachineAccount::update`] gave the last time.
    pub own_cache: Offered,
    /// The keytab.
    pub keytab: Offered,
}

/// What was chosen.
#[derive(Debug)]
pub enum Choice {
    /// A cache with a good ticket-granting ticket.
    Ready(MachineAccount),
    /// Keys to get one with.
    Keytab(Candidates),
}

/// Looks for acceptable credentials, without the network.
///
/// # Errors
/// [`Failure`] of the stage `Credentials`: `NoMachineCredential` that says what is wanted and what there is; `Setup`.
pub fn choose(node: &Node, sources: &Sources) -> Result<Choice, Failure> {
    let library = Library::open().map_err(unusable)?;
    let acceptable = acceptable(node, &library)?;
    let mut found = Vec::new();
    for (basis, offered) in
        [(Basis::DefaultCache, &sources.default_cache), (Basis::OwnCache, &sources.own_cache)]
    {
        let account = offered.clone().and_then(|name| from_cache(&library, &name, basis, &acceptable));
        match account {
            Ok(account) => return Ok(Choice::Ready(account)),
            Err(objection) => found.push(objection),
        }
    }
    match sources.keytab.clone().and_then(|name| Candidates::find(&library, name, &acceptable)) {
        Ok(candidates) => return Ok(Choice::Keytab(candidates)),
        Err(objection) => found.push(objection),
    }
    let detail = format!("wanted {acceptable}; found {}", found.join("; "));
    Err(Failure::new(Stage::Credentials, Cause::NoMachineCredential, detail))
}

/// The hosts that are named by what would do if it were this node's, each once, in lower-case letters: what this node is
/// called matters for these only. What cannot be read names none.
pub(crate) fn hosts(node: &Node, sources: &Sources) -> Vec<String> {
    let anywhere = Node { host: None, ..node.clone() };
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

impl Choice {
    /// The account, with a ticket-granting ticket from a KDC where there was none.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Kdc`: `KeytabRefused`, `ClockSkew`, `KdcDown`, `KdcSilent` and others.
    pub fn account(self) -> Result<MachineAccount, Failure> {
        match self {
            Self::Ready(account) => Ok(account),
            Self::Keytab(candidates) => candidates.account(),
        }
    }

    /// The failure of a KDC that does not answer [`Choice::account`] in time.
    pub fn silent(&self) -> Failure {
        Failure::new(Stage::Kdc, Cause::KdcSilent, format_args!("{self}: no answer in time"))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(account) => account.fmt(f),
            Self::Keytab(candidates) => candidates.fmt(f),
        }
    }
}

fn acceptable(node: &Node, library: &Library) -> Result<Acceptable, Failure> {
    let Roles { root, mdt, ost } = node.roles;
    let realm = match &node.realm {
        Some(realm) => Ok(realm.clone()),
        None => library.default_realm(),
    };
    let named = node.principal.as_deref().filter(|_| root && !mdt && !ost);
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
    Ok(Acceptable { realm, roles: node.roles, host: node.host.clone(), only })
}

/// The account of a cache, copied to memory; else what is in the way.
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
