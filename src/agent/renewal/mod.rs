//! Renews ticket-granting tickets at half of their lives, as long as that is possible.
//!
//! Called by the event loop. The agent can neither execute a program nor reach a network; the [`starter`], forked before the
//! agent confines itself, starts a worker for each renewal. Invariants: a renewed ticket takes the place of exactly the
//! ticket that was sent, in one change that storage keeps like any other; where that ticket is gone or has ended, nothing
//! changes; whatever becomes of starter and workers, nobody waits for them.

mod confinement;
mod errand;
mod judged;
mod placing;
mod starter;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::cache::{HeldCache, here};
use super::change::StorageError;
use super::codec::{CacheId, CacheLabel, CredentialId, HeldCredential, with_one};
use super::collections::Collections;
use super::journal::{AgentJournal, Topic};
use super::limits::StoreLimits;
use super::peer::ClientScope;
use crate::config::{Config, LogLevel, WorkerSandbox};
use crate::negotiate::renewing::{RenewalAnswer, RenewalOrder};
use crate::renewal_times;
use crate::sys::process::disown_children;
use crate::time;
use errand::{Errand, Progress};
use judged::{FaultKind, RenewalFault, new_ticket};
use placing::{fit, put};
use starter::{Starter, WORKERS};

/// What an answer has beyond one ticket: principals, the rest of the format.
const BESIDES_TICKET: usize = 64 * 1024;
/// How long an answer may take beyond the time for the KDC. By then the starter has killed the worker.
const ANSWER_MARGIN: Duration = Duration::from_secs(6);

/// Renewals of all caches.
#[derive(Debug)]
pub(super) struct Renewals {
    /// `None` once it has ended.
    starter: Option<Starter>,
    sandbox: WorkerSandbox,
    /// The time for a KDC.
    limit: Duration,
    errands: Vec<Errand>,
    troubles: BTreeMap<CredentialId, Trouble>,
    /// Until when caches are left alone after a success, in seconds since the epoch of this machine's clock.
    rests: BTreeMap<CacheId, u32>,
    /// By the clock on the wall, which goes on while the machine sleeps.
    alarm: TimerFd,
    alarm_at: Option<u32>,
}

/// Failures of a ticket's renewal.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// Seconds since the epoch of this machine's clock.
    again: u32,
    told: Vec<FaultKind>,
}

/// A ticket that can be renewed, and when that is due by this machine's clock, in seconds since the epoch.
struct DueTicket<'a> {
    scope: &'a ClientScope,
    label: &'a CacheLabel,
    cache: &'a HeldCache,
    ticket: CredentialId,
    due: u32,
    end: u32,
}

impl Renewals {
    /// Forks the starter. Called while this process may still do so.
    ///
    /// # Errors
    /// Those of fork(2), socketpair(2) and timerfd_create(2).
    pub(super) fn start(config: &Config) -> Result<Self, Errno> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let starter = Starter::launch(config)?;
        // If it ends before us, the kernel reaps it.
        disown_children();
        Ok(Self {
            starter: Some(starter),
            sandbox: config.worker_sandbox,
            limit: config.timeouts.kdc.0,
            errands: Vec::new(),
            troubles: BTreeMap::new(),
            rests: BTreeMap::new(),
            alarm: TimerFd::new(ClockId::CLOCK_REALTIME, flags)?,
            alarm_at: None,
        })
    }

    /// What is waited for.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let errands = self.errands.iter().flat_map(Errand::awaited);
        errands.chain([(self.alarm.as_fd(), PollFlags::POLLIN)])
    }

    /// When a worker has had its time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.errands.iter().map(Errand::until).min()
    }

    /// Takes what workers have answered, and begins what is due.
    ///
    /// # Errors
    /// [`StorageError::Superseded`]: nothing more is begun.
    pub(super) fn attend(
        &mut self,
        collections: &mut Collections,
        limits: &StoreLimits,
        journal: &mut AgentJournal,
        now: Instant,
    ) -> Result<(), StorageError> {
        // It stays readable until it is read, and is set anew even if the clock was set back meanwhile.
        if self.alarm.wait().is_ok() {
            self.alarm_at = None;
        }
        let mut finished = Vec::new();
        for at in (0..self.errands.len()).rev() {
            match self.errands.get_mut(at).map(|errand| errand.go_on(now)) {
                None | Some(Progress::UnderWay) => {}
                Some(progress) => finished.push((self.errands.swap_remove(at), progress)),
            }
        }
        for (errand, progress) in finished {
            self.settle(&errand, &progress, (collections, limits), journal)?;
        }
        self.begin_due(collections, limits, journal, now);
        Ok(())
    }

    /// Puts a renewed ticket in the place of the one that was sent, if that is still there.
    fn settle(
        &mut self,
        errand: &Errand,
        progress: &Progress,
        (collections, limits): (&mut Collections, &StoreLimits),
        journal: &mut AgentJournal,
    ) -> Result<(), StorageError> {
        let now = time::now_32();
        // A cache that was moved has the ticket under another name.
        let found = collections.of(errand.scope()).and_then(|collection| {
            collection.caches().find_map(|(label, cache)| {
                let old = cache.credential(errand.ticket())?;
                (cache.here(old.end()?) > now).then_some((label, cache, old))
            })
        });
        let Some((label, cache, old)) = found else {
            let words = if matches!(RenewalAnswer::read(errand.said()), RenewalAnswer::Cache(_)) {
                "a renewed ticket is not wanted any more: the old one was replaced, removed or has ended"
            } else {
                "a renewal is given up: its ticket was replaced, removed or has ended"
            };
            journal.say(LogLevel::Info, Topic::Renewal, words);
            return Ok(());
        };
        let (label, principal, id) = (label.clone(), cache.shown_principal(), cache.id());
        let offset = cache.offset();
        let (answered, former) = (answered(errand, progress, cache, old), old.cost());
        let mut dropped = Vec::new();
        let renewed = answered.and_then(|new| {
            let grown = new.cost().saturating_sub(former);
            fit(&new, grown, (errand.scope(), &label), (&mut *collections, limits), &mut dropped)?;
            put(collections, (errand.scope(), errand.ticket()), label.clone(), new)
        });
        journal.tell_dropped(dropped);
        match renewed {
            Ok(until) => {
                self.rests.insert(
                    id,
                    now.saturating_add(renewal_times::rest(here(until, offset).saturating_sub(now))),
                );
                let until = time::date(here(until, offset));
                let words = format_args!("{label}: renewed the tickets of {principal} until {until}");
                journal.say(LogLevel::Info, Topic::Renewal, words);
            }
            Err(RenewalFault::Storage(StorageError::Superseded)) => return Err(StorageError::Superseded),
            Err(fault) => {
                let candidate = collections
                    .cache(errand.scope(), &label)
                    .and_then(|cache| self.candidate((errand.scope(), &label, cache)))
                    .filter(|candidate| candidate.ticket == errand.ticket());
                if let Some(candidate) = candidate {
                    self.note_failure(&fault, &candidate, journal, now);
                }
            }
        }
        Ok(())
    }

    /// Has workers started for tickets that are due, those that end first before others, and sets the alarm for the next one.
    fn begin_due(
        &mut self,
        collections: &Collections,
        limits: &StoreLimits,
        journal: &mut AgentJournal,
        now: Instant,
    ) {
        let seconds = time::now_32();
        let mut candidates: Vec<_> = collections.all().filter_map(|found| self.candidate(found)).collect();
        self.troubles.retain(|ticket, _| candidates.iter().any(|candidate| candidate.ticket == *ticket));
        self.rests.retain(|id, until| {
            *until > seconds && candidates.iter().any(|candidate| candidate.cache.id() == *id)
        });
        candidates.retain(|candidate| candidate.end > seconds && !self.is_under_way(candidate.ticket));
        candidates.sort_by_key(|candidate| candidate.end);
        let mut next: Option<u32> = None;
        for candidate in candidates {
            let due = if candidate.due > seconds {
                Some(candidate.due)
            } else if self.errands.len() < WORKERS {
                self.begin(&candidate, limits, journal, (now, seconds))
            } else {
                // It begins when another one has ended.
                None
            };
            next = next.into_iter().chain(due).min();
        }
        self.set_alarm(next);
    }

    fn candidate<'a>(
        &self,
        (scope, label, cache): (&'a ClientScope, &'a CacheLabel, &'a HeldCache),
    ) -> Option<DueTicket<'a>> {
        let (ticket, life) = cache.renewable()?;
        let again = self.troubles.get(&ticket).map_or(0, |trouble| trouble.again);
        let rest = self.rests.get(&cache.id()).copied().unwrap_or(0);
        let due = cache.here(renewal_times::half_life(life.start, life.end)).max(again).max(rest);
        Some(DueTicket { scope, label, cache, ticket, due, end: cache.here(life.end) })
    }

    fn is_under_way(&self, ticket: CredentialId) -> bool {
        self.errands.iter().any(|errand| errand.ticket() == ticket)
    }

    /// Begins a renewal. If that fails, returns when it is tried again.
    fn begin(
        &mut self,
        candidate: &DueTicket<'_>,
        limits: &StoreLimits,
        journal: &mut AgentJournal,
        (now, seconds): (Instant, u32),
    ) -> Option<u32> {
        let DueTicket { scope, label, cache, ticket, .. } = *candidate;
        let starter = self.starter.as_ref()?;
        let order = RenewalOrder { sandbox: self.sandbox, limit: self.limit, cache: label.to_string() };
        let old = cache.credential(ticket)?;
        let message = order.with(&with_one(cache.principal(), cache.offset(), old.bytes()));
        let room = limits.ticket_size.saturating_add(BESIDES_TICKET);
        let until = now + self.limit + ANSWER_MARGIN;
        match Errand::begin(starter, (scope.clone(), ticket), message, room, until) {
            Ok(errand) => {
                self.errands.push(errand);
                None
            }
            Err(Errno::EPIPE | Errno::ECONNRESET) => {
                self.starter = None;
                let words = "no ticket is renewed any more: the process that starts workers has ended; restart lgss_agent";
                journal.say(LogLevel::Error, Topic::Renewal, words);
                None
            }
            Err(errno) => {
                let fault = RenewalFault::NoWorker(errno);
                Some(self.note_failure(&fault, candidate, journal, seconds))
            }
        }
    }

    /// Tells a failure if it is the first of its kind. Returns when the renewal is tried again.
    fn note_failure(
        &mut self,
        fault: &RenewalFault,
        candidate: &DueTicket<'_>,
        journal: &mut AgentJournal,
        seconds: u32,
    ) -> u32 {
        let trouble = self.troubles.entry(candidate.ticket).or_default();
        let left = candidate.end.saturating_sub(seconds);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.again = seconds.saturating_add(renewal_times::pause(trouble.failures, left));
        if !trouble.told.contains(&fault.kind()) {
            trouble.told.push(fault.kind());
            let (label, principal) = (candidate.label, candidate.cache.shown_principal());
            let end = time::date(candidate.end);
            let words = format_args!(
                "{label}: the tickets of {principal}, which end at {end}, are not renewed yet: {fault}"
            );
            journal.say(LogLevel::Warn, Topic::Renewal, words);
        }
        trouble.again
    }

    fn set_alarm(&mut self, at: Option<u32>) {
        if self.alarm_at == at {
            return;
        }
        let set = match at {
            Some(at) => self
                .alarm
                .set(Expiration::OneShot(TimeSpec::new(at.into(), 0)), TimerSetTimeFlags::TFD_TIMER_ABSTIME),
            None => self.alarm.unset(),
        };
        self.alarm_at = at.filter(|_| set.is_ok());
    }
}

/// The ticket in an answer.
fn answered(
    errand: &Errand,
    progress: &Progress,
    cache: &HeldCache,
    old: &HeldCredential,
) -> Result<HeldCredential, RenewalFault> {
    match progress {
        Progress::Answered => new_ticket(errand.said(), cache, old),
        Progress::TooLong => Err(RenewalFault::TooLong),
        Progress::Late | Progress::UnderWay => Err(RenewalFault::Late),
    }
}
