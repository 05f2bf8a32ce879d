//! The machine's credentials: which principal to use, and for that, where it matters, the machine's host name.
//!
//! The name service may be silent for long while a mount waits. So it is asked only if there are host principals among which
//! the kernel's name for this host does not decide, and then for a part of the time.

use std::time::Instant;

use super::early_names::EarlyNames;
use super::task::WorkerTask;
use crate::creds::machine::{Basis, MachineAccount, MachineChoice, MachineRequest, Sources, choose, hosts};
use crate::creds::source::MachineSource;
use crate::creds::source_list::SourceEntry;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{Credentials, Ready};
use crate::negotiate::nid_host::{HostLookup, NameService, SystemNames, own_host};
use crate::sys::answer::{NoAnswer, within};

/// The name service gets 1/3 of the time left for it and the KDCs.
const NAME_SHARE: u32 = 3;

/// This machine's account, from a cache or by the keytab. Reported to the monitor at once, since others may wait for it.
pub(super) fn machine_account(
    sources: &[SourceEntry],
    task: WorkerTask<'_>,
) -> Result<MachineAccount, Failure> {
    let WorkerTask { request, deadline, watch, .. } = task;
    let source = |wanted: MachineSource, word: &str| {
        let found = sources.iter().find_map(|source| match source {
            SourceEntry::Machine { part, found } if *part == wanted => Some(found.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| Err(format!("no {word}")))
    };
    let sources = Sources {
        default_cache: source(MachineSource::DefaultCache, "default_cache"),
        own_cache: source(MachineSource::OwnCache, "own_cache"),
        keytab: source(MachineSource::Keytab, "keytab"),
    };
    let silent = Failure::new(Stage::Credentials, Cause::BadCache, "machine credentials: no answer in time");
    watch.enter(deadline, silent.clone());
    let Credentials::Machines { roles, realm, principal, myself } = &request.credentials else {
        return Err(Failure::new(Stage::Credentials, Cause::Setup, "not machine credentials"));
    };
    let (realm, principal) = (realm.clone(), principal.clone());
    let anywhere = MachineRequest { roles: *roles, realm, host: None, principal };
    // Fails without the name service if credentials are missing under every host name.
    choose(&anywhere, &sources)?;
    let choice = choose_here(&anywhere, &sources, myself.as_ref(), task)?;
    watch.enter(deadline, choice.silent());
    let account = choice.account()?;
    let new = if account.basis() == Basis::Keytab { account.update()? } else { None };
    let ready = Ready { good_until: account.good_until(), service_until: None };
    watch
        .send_ready(ready, new.as_ref())
        .map_err(|error| Failure::new(Stage::Credentials, Cause::WorkerFault, error))?;
    Ok(account)
}

/// The choice for this host.
fn choose_here(
    anywhere: &MachineRequest,
    sources: &Sources,
    myself: Option<&HostLookup>,
    task: WorkerTask<'_>,
) -> Result<MachineChoice, Failure> {
    let named = hosts(anywhere, sources);
    let own = SystemNames.host_name().unwrap_or_default();
    let configured = myself.and_then(|nid| nid.configured.as_deref());
    let (host, unknown) = match own_host_name(&named, &own, configured) {
        OwnHost::Any => (None, None),
        OwnHost::Host(host) => (Some(host), None),
        OwnHost::Unknown(otherwise) => match ask(myself, task) {
            Ok(host) => (Some(host), None),
            Err(failure) => (Some(otherwise), Some(failure)),
        },
    };
    let late = "machine credentials: no answer in time";
    let WorkerTask { deadline, watch, .. } = task;
    watch.enter(deadline, Failure::new(Stage::Credentials, Cause::BadCache, late));
    choose(&MachineRequest { host, ..anywhere.clone() }, sources).map_err(|failure| match unknown {
        Some(unknown) => {
            let detail = format_args!("{}; {}", failure.detail, unknown.detail);
            Failure::new(failure.stage, failure.cause, detail)
        }
        None => failure,
    })
}

/// The host whose principals to use.
#[derive(Debug, PartialEq, Eq)]
enum OwnHost {
    /// No principal names a host.
    Any,
    /// This host.
    Host(String),
    /// The name service decides; without its answer, this host.
    Unknown(String),
}

/// Decides by the hosts that principals name and by this host's own name, which may be short or full. A name in the settings
/// takes precedence, and asking for it takes no time.
fn own_host_name(named: &[String], own: &str, configured: Option<&str>) -> OwnHost {
    let own = own.to_ascii_lowercase();
    let is_own = |host: &&String| {
        **host == own || (!own.contains('.') && host.split('.').next() == Some(own.as_str()))
    };
    let fitting: Vec<_> = named.iter().filter(is_own).collect();
    match (named, fitting.as_slice()) {
        ([], _) => OwnHost::Any,
        ([_], [host]) if configured.is_none() => OwnHost::Host((*host).clone()),
        (_, [host]) => OwnHost::Unknown((*host).clone()),
        _ => OwnHost::Unknown(own),
    }
}

/// This host's full name.
fn ask(
    myself: Option<&HostLookup>,
    WorkerTask { deadline, names, watch, .. }: WorkerTask<'_>,
) -> Result<String, Failure> {
    let silent = || {
        let detail = "this machine's full name is unknown: the name service does not answer";
        Failure::new(Stage::Resolve, Cause::NameServiceSilent, detail)
    };
    watch.enter(deadline, silent());
    let limit = deadline.saturating_duration_since(Instant::now()) / NAME_SHARE;
    let (myself, names) = (myself.cloned(), names.clone());
    let answer = within(limit, move || host(&names, myself.as_ref(), Instant::now() + limit));
    answer.unwrap_or_else(|error| match error {
        NoAnswer::Late => Err(silent()),
        NoAnswer::NotAsked(_) => Err(Failure::new(Stage::Resolve, Cause::Setup, error)),
    })
}

fn host(names: &EarlyNames, myself: Option<&HostLookup>, deadline: Instant) -> Result<String, Failure> {
    // An identifier without a name is no reason to fail if the host knows its own name.
    match myself.map(|nid| names.host(nid, deadline)) {
        Some(Ok(host)) => Ok(host),
        Some(Err(unnamed)) => own_host(&SystemNames).map_err(|_| unnamed),
        None => own_host(&SystemNames),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_host_name(named: &[&str], own: &str) -> OwnHost {
        super::own_host_name(&named.iter().map(|&host| host.to_owned()).collect::<Vec<_>>(), own, None)
    }

    #[test]
    fn the_name_service_is_asked_only_if_its_answer_matters() {
        let host = |name: &str| OwnHost::Host(name.to_owned());
        let unknown = |name: &str| OwnHost::Unknown(name.to_owned());
        assert_eq!(own_host_name(&[], "n1"), OwnHost::Any);
        assert_eq!(own_host_name(&["n1.test"], "n1"), host("n1.test"));
        assert_eq!(own_host_name(&["n1.test"], "N1.Test"), host("n1.test"));
        // Another host's, or this one's by an alias.
        for own in ["n", "n1.other", "n1.test.other", "x", ""] {
            assert_eq!(own_host_name(&["n1.test"], own), unknown(own), "{own}");
        }
        // Perhaps the name in another network.
        assert_eq!(own_host_name(&["n1-ib.test", "n1.test"], "n1"), unknown("n1.test"));
        assert_eq!(own_host_name(&["n1.a", "n1.b"], "n1"), unknown("n1"));
        // The settings name it.
        let configured = super::own_host_name(&["n1.test".to_owned()], "n1", Some("n1-ib.test"));
        assert_eq!(configured, unknown("n1.test"));
    }
}
