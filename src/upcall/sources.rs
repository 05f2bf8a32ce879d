//! The sources of credentials, which the launcher names and opens and the worker gets (rules S4, S7, S9).

use std::os::fd::AsFd;
use std::path::Path;

use zeroize::Zeroizing;

use super::assignment::{Assignment, blocked, launch_failed};
use super::authorise::Acting;
use super::order::Order;
use super::shared_keys::SharedKeyCandidate;
use super::ticket_store;
use super::verdict::Served;
use crate::creds::cache_name::{CacheName, CacheNameError};
use crate::creds::keytab_file;
use crate::creds::open::CachePolicy;
use crate::creds::roots;
use crate::creds::search::{
    CacheOwner, Daemon, Environment, Search, SearchProgress, UserRings, environment_of,
};
use crate::creds::source::{MachineSource, Source, SourceHandle, SourceRole, Standing};
use crate::creds::ticket_keys::TicketKeyFailure;
use crate::ctx::lustre::LustreMechanism;
use crate::ctx::request::Callout;
use crate::event::{Cause, Failure, Stage};
use crate::identity::id_map::IdMap;
use crate::sys::files::{self, Untrusted};
use crate::sys::{namespaces, proc};

/// The sources that a request asks for.
pub(super) enum WantedSources<'a> {
    /// A user's; searched as that user.
    Users(Box<Search<'a>>),
    /// Root's cache of this name, handed over as a copy.
    Roots(CacheName),
    /// Shared keys, which the monitor has read.
    SharedKeys,
    /// The machine's, also as copies: root's default cache, of this name unless the requester is in a container, the
    /// own cache, and the keytab.
    Machines(Option<CacheName>),
}

impl<'a> WantedSources<'a> {
    /// The cache that the request names; else all caches of a user, or the default cache of root.
    pub(super) fn of(
        assignment: &Assignment<'a>,
        served: &'a Served,
        progress: &mut SearchProgress<'_>,
    ) -> Result<Self, Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::new(Stage::Credentials, Cause::BadCache, error);
        let parse = |name: &str| name.parse::<CacheName>().map_err(|e: CacheNameError| bad(&e));
        let roots_default = || roots::default_cache(&assignment.config.krb5_config);
        let named = match assignment.order {
            Order::Lustre(callout) if callout.mechanism == LustreMechanism::Sk => {
                return Ok(Self::SharedKeys);
            }
            Order::Lustre(callout) if callout.roles.any() => {
                // Root's default cache is the host's.
                let hosts = assignment.config.within().is_none();
                return Ok(Self::Machines(if hosts { Some(roots_default()?) } else { None }));
            }
            Order::Program { callout, .. } => callout.cache.as_deref().map(parse).transpose()?,
            Order::Lustre(_) => None,
        };
        if assignment.uid == 0 {
            return Ok(Self::Roots(named.map_or_else(roots_default, Ok)?));
        }
        let requester = requester(assignment, served)?;
        Ok(Self::Users(Box::new(match named {
            Some(name) => Search::for_one(assignment.config, requester, name),
            None => Search::for_best(
                assignment.config,
                requester,
                environment(assignment.order, served, progress),
            ),
        })))
    }
}

/// The environment that the requester was started with, except that KRB5CCNAME is taken from the request, which has its
/// current value. For a server that acts for a user neither is the user's.
fn environment(order: &Order, served: &Served, progress: &mut SearchProgress<'_>) -> Environment {
    let started = served.places.environment.as_ref();
    let started =
        started.map(|environment| environment_of(environment.as_fd(), progress)).unwrap_or_default();
    match order {
        Order::Program { callout: Callout { prefer: Some(prefer), .. }, .. }
            if served.acting == Acting::ForItself =>
        {
            Environment { cache: prefer.cache().map(str::to_owned), ..started }
        }
        Order::Program { .. } | Order::Lustre(_) => started,
    }
}

/// The user whose caches are searched for.
fn requester<'a>(assignment: &Assignment<'a>, served: &'a Served) -> Result<CacheOwner<'a>, Failure> {
    let failed = |errno| launch_failed("namespaces", errno);
    let places = &served.places;
    let root_is_ours = files::our_root()
        .and_then(|ours| files::same_place(ours.as_fd(), places.root.as_fd()))
        .map_err(failed)?;
    let map = places.container.as_ref().and_then(|container| IdMap::read(&container.uid_map).ok());
    let inside = map.as_ref().and_then(|map| map.inside(assignment.uid)).unwrap_or(assignment.uid);
    let ours = proc::open_file("/proc/self/ns/user").map_err(failed)?;
    let same = match &places.user_namespace {
        Some(theirs) => namespaces::identity(theirs.as_fd()) == namespaces::identity(ours.as_fd()),
        // For Lustre's users there is only the map.
        None => {
            let ours = proc::open_file("/proc/self/uid_map").ok().and_then(|map| IdMap::read(&map).ok());
            map.is_none() || map == ours
        }
    };
    let user_rings = if same { UserRings::Ours } else { UserRings::Foreign };
    let daemon = if root_is_ours { Daemon::Hosts } else { Daemon::BySocket };
    Ok(CacheOwner { uid: assignment.uid, inside, root: places.root.as_fd(), daemon, user_rings })
}

/// Copies root's cache into sealed memory.
///
/// # Errors
/// What is wrong with the cache.
pub(super) fn seal_roots(
    name: &CacheName,
    assignment: &Assignment<'_>,
    served: &Served,
) -> Result<Vec<Source>, Failure> {
    let content = copy_roots(name, assignment, served)?;
    let sealed = files::sealed_memory(&content).map_err(|errno| launch_failed("sealed memory", errno))?;
    Ok(vec![Source::opened(name.to_string(), sealed)])
}

/// The shared keys, each in sealed memory.
///
/// # Errors
/// `Setup` without memory.
pub(super) fn seal_shared_keys(assignment: &Assignment<'_>) -> Result<Vec<Source>, Failure> {
    let seal = |candidate: &SharedKeyCandidate| {
        let sealed = files::sealed_memory(candidate.form.expose());
        let sealed = sealed.map_err(|errno| launch_failed("sealed memory", errno))?;
        let (role, display) = (SourceRole::SharedKey(candidate.test), candidate.name.clone());
        Ok(Source { role, standing: Standing::Found, display, handle: SourceHandle::Descriptor(sealed) })
    };
    assignment.shared_keys.iter().map(seal).collect()
}

/// The machine's three sources. A missing one is reported to the worker, which knows whether it is needed. Root's
/// default cache comes with whether it may be read.
pub(super) fn seal_machines(
    default: Option<(&CacheName, bool)>,
    assignment: &Assignment<'_>,
    served: &Served,
) -> Result<Vec<Source>, Failure> {
    let config = assignment.config;
    let mut sources = Vec::new();
    let mut add = |part, display: String, content: Result<Zeroizing<Vec<u8>>, String>| {
        let (display, handle) = match content {
            Ok(content) => {
                let sealed = files::sealed_memory(&content).map_err(|e| launch_failed("sealed memory", e))?;
                (display, SourceHandle::Descriptor(sealed))
            }
            Err(why) => (why, SourceHandle::Nothing(String::new())),
        };
        sources.push(Source { role: SourceRole::Machine(part), standing: Standing::Found, display, handle });
        Ok(())
    };
    if let Some((name, may_be_read)) = default {
        let content = if may_be_read { copy_roots(name, assignment, served) } else { Err(blocked(name)) };
        add(MachineSource::DefaultCache, name.to_string(), content.map_err(|failure| failure.detail))?;
    }
    let own =
        assignment.stamp.map_or(Err(TicketKeyFailure::Absent), |stamp| ticket_store::contents(config, stamp));
    let why = |failure| format!("own cache: {failure}");
    add(MachineSource::OwnCache, "own cache".to_owned(), own.map_err(why))?;
    if let Some(keytab) = assignment.order.keytab(config) {
        let display = format!("FILE:{}", keytab.display());
        let content = machine_keys(keytab).map_err(|why| format!("{display}: {why}"));
        add(MachineSource::Keytab, display, content)?;
    }
    Ok(sources)
}

/// Root's caches, too, are looked for below the requester's root directory.
fn copy_roots(
    name: &CacheName,
    assignment: &Assignment<'_>,
    served: &Served,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let root = served.places.root.as_fd();
    roots::copy(CachePolicy { root, owner: 0, allowed: &assignment.config.caches }, name)
}

/// The contents of a keytab, which only root may be able to write.
pub(super) fn machine_keys(keytab: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    keytab_file::read(keytab).map_err(|error| match error {
        Untrusted::Open(_, error) => error.to_string(),
        other => other.to_string(),
    })
}
