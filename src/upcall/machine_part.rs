//! A request's part in machine credentials: its turn to get them, the cache that all requests share, the note for later
//! fronts, and the memory of failures.
//!
//! Held by the monitor during a negotiation for the machine.

use std::path::PathBuf;
use std::time::Instant;

use super::failures::{FailureMemory, Scope};
use super::job::Job;
use super::order::Order;
use super::own_cache::{CacheTurn, FAILED, OwnCache};
use super::ready::{Note, make_directory};
use super::sources::machine_keys;
use super::ticket_store::{NotStored, TicketStore, noted_name};
use crate::config::{Config, settings_file};
use crate::creds::stamp::{Stamp, depends_on};
use crate::event::{Cause, Failure, Stage};
use crate::identity::requester::Wait;
use crate::negotiate::messages::{Credentials, Ready};
use crate::secret::Secret;

/// A worker reports machine credentials when it has some, again when it has a service ticket as well, and after a
/// second attempt.
const READY_REPORTS_LIMIT: usize = 3;

/// One request's part, which other requests may wait for.
#[derive(Debug)]
pub(super) struct MachinePart {
    stamp: Stamp,
    turn: CacheTurn,
    store: TicketStore,
    /// How often the worker has reported credentials.
    reports: usize,
    /// The note for later fronts, for requests from our own mount namespace.
    note: Option<Note>,
    /// The files that the tickets depend on.
    files: Vec<PathBuf>,
    /// Memory of failures before there were credentials, and of failures with the server.
    memories: [Option<FailureMemory>; 2],
}

impl MachinePart {
    /// Takes a turn, after waiting for a request that is getting the same credentials. The stamp, each namespace's own,
    /// names their cache. `None` if machine credentials are not asked for.
    ///
    /// # Errors
    /// The failure of the other request, or of an earlier one; `Setup`, `Deadline`.
    pub(super) fn take(
        credentials: &Credentials,
        job: &Job<'_>,
        deadline: Instant,
    ) -> Result<Option<Self>, Failure> {
        let Job { invocation, served, config, waits } = *job;
        let order = job.order();
        let (Some(keytab), Credentials::Machines { .. }) = (order.keytab(config), credentials) else {
            return Ok(None);
        };
        let setup = |error: &dyn std::fmt::Display| Failure::new(Stage::Credentials, Cause::Setup, error);
        // Listed before they are read, so that a change while we read makes the note invalid and not wrong.
        let mut files = vec![settings_file(invocation.config.as_deref()).to_owned()];
        files.push(keytab.to_owned());
        files.extend(depends_on(&config.krb5_config));
        let keys = machine_keys(keytab).unwrap_or_default();
        let purpose = serde_json::to_string(&(credentials, config.within())).map_err(|e| setup(&e))?;
        let stamp = Stamp::of(&keys, &config.krb5_config, &[&purpose]).map_err(|error| setup(&error))?;
        let ours = config.within().is_none() && served.places.container.is_none();
        let note = order.lustre().filter(|_| ours).map(|callout| Note::of(invocation, callout));
        if note.is_some() {
            // If this fails, there will be no note.
            let _ = make_directory();
        }
        let memories = memories(order, config, &stamp);
        if waits != Wait::Mount
            && let Some(failure) = memories.iter().flatten().find_map(FailureMemory::pause)
        {
            return Err(failure);
        }
        let turn = OwnCache::open(config, &stamp)?.turn(deadline)?;
        let store = TicketStore::of(config, &stamp);
        Ok(Some(Self { stamp, turn, store, reports: 0, note, files, memories }))
    }

    /// The stamp of the own cache.
    pub(super) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Where tickets are stored.
    pub(super) fn store(&self) -> &TicketStore {
        &self.store
    }

    /// Stores credentials that the worker has reported, or more of them, so that other requests can use them. Returns why
    /// they are not stored.
    ///
    /// # Errors
    /// `WorkerFault` if there were too many reports.
    pub(super) fn credentials_ready(
        &mut self,
        ready: Ready,
        cache: &Secret,
        config: &Config,
    ) -> Result<Option<NotStored>, Failure> {
        self.reports += 1;
        if self.reports > READY_REPORTS_LIMIT {
            return Err(not_asked_for());
        }
        let stored = self.turn.succeeded(ready.good_until, cache, &mut self.store);
        if let (Some(until), Some(note), TicketStore::Own | TicketStore::Keys(_), Ok(())) =
            (ready.service_until, &self.note, &self.store, stored)
        {
            note.leave(until.into(), &noted_name(config, &self.stamp), &self.files);
        }
        Ok(stored.err())
    }

    /// Records that there are none, or that they were useless, so that waiting requests do not fail in the same way one
    /// after another.
    pub(super) fn failed(self, failure: &Failure) {
        if let Some(note) = self.note {
            note.remove();
        }
        let [of_machine, with_server] = &self.memories;
        let memory = if self.reports == 0 { of_machine } else { with_server };
        if let Some(memory) = memory {
            memory.failed(failure);
        }
        self.turn.failed(failure);
    }

    /// Forgets earlier failures after a success.
    pub(super) fn succeeded(self) {
        self.memories.iter().flatten().for_each(FailureMemory::succeeded);
    }
}

fn memories(order: &Order, config: &Config, stamp: &Stamp) -> [Option<FailureMemory>; 2] {
    let open = |name| FailureMemory::open(config, "machine", name, Scope::All);
    let server = order
        .lustre()
        .map(|callout| format!("{stamp}.{}.{:016x}{FAILED}", callout.server.number(), callout.peer.raw()));
    [open(format!("{stamp}{FAILED}")), server.and_then(open)]
}

/// The failure of a worker that reports credentials unasked.
pub(super) fn not_asked_for() -> Failure {
    let detail = "worker: credentials that it was not asked for";
    Failure::new(Stage::Negotiate, Cause::WorkerFault, detail)
}
