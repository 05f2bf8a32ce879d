//! Searches for credentials and ranks them as launcher and worker do (src/upcall, src/worker), in a child process.
//!
//! A file system may block that child: then it is abandoned, and another one passes that place over.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::namespace;
use super::progress::{self, At};
use super::row::{FoundCaches, Row};
use crate::cli::whose::Whose;
use crate::config::{Canonicalize, Config};
use crate::creds::limits::BLOCKED_PLACES;
use crate::creds::open::CachePolicy;
use crate::creds::ranking::TicketReach;
use crate::creds::roots;
use crate::creds::search::{self, CacheOwner, Environment, Rings, Search, SearchProgress, UserRings};
use crate::creds::source::Source;
use crate::creds::source_list::SourceEntry;
use crate::creds::survey::{Candidate, Ranking, Survey};
use crate::creds::ticket::{CacheNames, canonical, service_principal, unusable};
use crate::ctx::request::Service;
use crate::event::{Cause, Failure, Stage};
use crate::gss::keytab::Keytab;
use crate::gss::krb5::Library;
use crate::provider::child::{as_user, in_child};
use crate::sys::{files, jail};
use crate::time::now;

/// Looks for the credentials of `whose`, and ranks them for `target`, or for no service in particular. The next attempt
/// passes over a place that did not answer, as the upcall does.
///
/// # Errors
/// Those of [`in_child`].
pub(super) fn look(whose: Whose, config: &Config, target: Option<&Service>) -> io::Result<FoundCaches> {
    let mut blocked = Vec::new();
    loop {
        let (progress, watcher) = io::pipe()?;
        let watch = SearchWatch { watcher: watcher.as_fd(), blocked: &blocked };
        let error = match attempt(whose, config, target, watch) {
            Err(error) if error.kind() == ErrorKind::TimedOut => error,
            other => return other,
        };
        match progress::read(progress)? {
            At::Place(place) if blocked.len() < BLOCKED_PLACES => blocked.push(place),
            At::Cache(display) => {
                return Ok(FoundCaches::failed(CacheNames { library: String::new(), display }.silent()));
            }
            At::Place(_) | At::Elsewhere => return Err(error),
        }
    }
}

/// The pipe to the watcher of an attempt, and the progress to pass over.
#[derive(Clone, Copy)]
struct SearchWatch<'a> {
    watcher: BorrowedFd<'a>,
    blocked: &'a [usize],
}

fn attempt(
    whose: Whose,
    config: &Config,
    target: Option<&Service>,
    watch: SearchWatch<'_>,
) -> io::Result<FoundCaches> {
    let root = files::our_root()?;
    let mut progress = SearchProgress::new(Some(watch.watcher), watch.blocked);
    let requester = CacheOwner {
        uid: whose.uid(),
        inside: whose.uid(),
        root: root.as_fd(),
        daemon: namespace::daemon(&config.krb5_config),
        user_rings: UserRings::Ours,
    };
    let rank = |sources: Result<Vec<Source>, Failure>| {
        let found = sources.and_then(|sources| rank(sources, config, target, watch.watcher));
        found.unwrap_or_else(FoundCaches::failed)
    };
    match whose {
        Whose::Caller(0) => in_child(|| {
            jail::allow_descriptors(jail::DESCRIPTORS)?;
            Ok(rank(of_root(root.as_fd(), config)))
        }),
        Whose::Caller(_) => {
            let environment = Environment::of(|name| std::env::var(name).ok());
            let search = Search::for_best(config, requester, environment);
            in_child(|| {
                jail::allow_descriptors(jail::DESCRIPTORS)?;
                Ok(rank(of_caller(search, requester.uid, &mut progress)))
            })
        }
        Whose::User(uid, gid) => {
            let mut search = Search::for_best(config, requester, Environment::default());
            as_user((uid, gid), || {
                jail::allow_descriptors(jail::DESCRIPTORS)?;
                Ok(rank(Ok(search.finish(&mut progress))))
            })
        }
    }
}

fn of_caller(
    mut search: Search<'_>,
    uid: u32,
    progress: &mut SearchProgress<'_>,
) -> Result<Vec<Source>, Failure> {
    search.look_into(Rings::of_caller(uid));
    // libkrb5 makes the keyrings on the way to a named cache: it must not do so in the caller's session.
    search::isolate(search.lent()).map_err(|(ring, errno)| {
        Failure::new(Stage::Credentials, Cause::Setup, format_args!("{ring}: {}", errno.desc()))
    })?;
    Ok(search.finish(progress))
}

/// Root's sources: the upcall uses its default cache, and nothing else.
fn of_root(root: BorrowedFd<'_>, config: &Config) -> Result<Vec<Source>, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::new(Stage::Credentials, Cause::BadCache, error);
    let name = roots::default_cache(&config.krb5_config)?;
    let sealed = roots::copy(CachePolicy { root, owner: 0, allowed: &config.caches }, &name)
        .and_then(|content| files::sealed_memory(&content).map_err(|errno| bad(&errno.desc())));
    Ok(vec![match sealed {
        Ok(sealed) => Source::opened(name.to_string(), sealed),
        Err(failure) => Source::objection(&name, &failure),
    }])
}

/// Ranks as the worker does, but asks no KDC.
fn rank(
    sources: Vec<Source>,
    config: &Config,
    target: Option<&Service>,
    watcher: BorrowedFd<'_>,
) -> Result<FoundCaches, Failure> {
    let library = Library::open_with(&config.krb5_config).map_err(unusable)?;
    // The descriptors must stay open while they are read.
    let (sources, _descriptors) = entries(sources);
    let mut survey = Survey::of(&library, sources, config.timeouts.kdc.0, |display| {
        progress::begin_cache(watcher, display);
    });
    let keytab = survey.client_keytab.take().map(|name| keytab(&library, &name));
    progress::done(watcher);
    let wanted = target.filter(|_| keytab.is_some() || survey.has_live(now()));
    let canonical = wanted.filter(|_| config.kerberos.canonicalize == Canonicalize::Yes).and_then(canonical);
    let wanted = canonical.as_ref().or(wanted);
    let server = wanted.map(|service| service_principal(&library, service)).transpose()?;
    let service = server.as_ref().map(|server| server.name());
    let ranking = survey.rank(service.as_ref(), now());
    let usable_keytab = keytab.as_ref().is_some_and(Row::is_usable);
    // A KDC refuses postdated tickets that it has not validated, and the upcall tries the next.
    let (postdated, valid): (Vec<_>, Vec<_>) =
        ranking.usable.iter().partition(|candidate| candidate.worth.reach == TicketReach::Postdated);
    let failure = match postdated.first() {
        _ if !valid.is_empty() || usable_keytab => None,
        Some(first) => Some(refused(first)),
        None => Some(ranking.failure()),
    };
    let first = valid.first().copied();
    let wanted = ranking.wanted.as_ref().filter(|_| first.is_some());
    let refusals: Vec<_> =
        postdated.iter().map(|it| (it.name.display.as_str(), it.worth.not_before())).collect();
    let refusal = |cache: &str| refusals.iter().find(|(name, _)| *name == cache).map(|(_, why)| why.as_str());
    Ok(FoundCaches {
        wanted: wanted.and_then(|wanted| wanted.instead(first, refusal)),
        rows: rows(&ranking, keytab),
        failure,
        service: service.map(|name| name.to_string().trim_end_matches('@').to_owned()),
    })
}

/// The failure when a KDC refuses a postdated ticket.
fn refused(candidate: &Candidate) -> Failure {
    let detail = format_args!("{}: {}", candidate.name.shown(), candidate.worth.not_before());
    Failure::new(Stage::Kdc, Cause::ClockSkew, detail)
}

/// The sources by names that the library can open, and the descriptors that some of these names refer to.
fn entries(sources: Vec<Source>) -> (Vec<SourceEntry>, Vec<OwnedFd>) {
    let mut descriptors = Vec::new();
    let entries = sources.into_iter().map(|source| {
        SourceEntry::of(source, |descriptor| {
            let name = format!("FILE:/proc/self/fd/{}", descriptor.as_raw_fd());
            descriptors.push(descriptor);
            name
        })
    });
    (entries.collect(), descriptors)
}

/// A row for a keytab: its first key's principal is the one to get a ticket for.
fn keytab(library: &Library, name: &CacheNames) -> Row {
    let first = Keytab::resolve(library, &name.library).and_then(|keytab| keytab.entries(1));
    match first.map(|entries| entries.into_iter().next()) {
        Ok(Some(entry)) => Row::keytab(&name.display, &entry.principal.name()),
        Ok(None) => Row::objection(&name.display, "no keys"),
        Err(error) => Row::objection(&name.display, &name.in_words(&error.message)),
    }
}

fn rows(ranking: &Ranking, keytab: Option<Row>) -> Vec<Row> {
    let now = now();
    let mut rank = 0;
    let usable = ranking.usable.iter().map(|candidate| match candidate.worth.reach {
        TicketReach::Postdated => Row::postdated(candidate, now),
        _ => {
            rank += 1;
            Row::usable(rank, candidate, now)
        }
    });
    let usable: Vec<_> = usable.collect();
    let keytab = keytab.map(|row| if rank == 0 { row.ranked_first() } else { row });
    let objections = ranking.objections.iter().map(|o| Row::objection(&o.place, o.reason()));
    usable.into_iter().chain(keytab).chain(objections).collect()
}
