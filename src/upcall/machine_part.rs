//! A request's part in the node's credentials: its turn to get them, the cache that all share, the note for later
//! fronts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::failures::{FailureMemory, Scope};
use super::job::Job;
use super::order::Order;
use super::own_cache::{CacheTurn, FAILED, OwnCache, TicketStore, path};
use super::ready::Note;
use super::sources::machine_keys;
use crate::config::{Config, DEFAULT_PATH};
use crate::creds::stamp::{Stamp, depends_on};
use crate::event::{Cause, Failure, Stage};
use crate::identity::requester::Wait;
use crate::negotiate::messages::{Credentials, Ready};
use crate::secret::Secret;

/// A worker tells of machine credentials when it has some, again when it has a service ticket, too, and after a second
/// attempt.
const READY_REPORTS_LIMIT: usize = 3;

/// What others wait for.
#[derive(Debug)]
pub(super) struct MachinePart {
    stamp: Stamp,
    turn: CacheTurn,
    store: TicketStore,
    /// How often the worker has told of credentials.
    reports: usize,
    /// Where our own mount namespace is asked for.
    note: Option<Note>,
    /// What the tickets depend on.
    files: Vec<PathBuf>,
    /// Failures before there were credentials, and failures with a server.
    memories: [Option<FailureMemory>; 2],
}

impl MachinePart {
    /// Waits while another request gets the same, and names their cache, each namespace's own. `None` if it is not about
    /// credentials of the node.
    ///
    /// # Errors
    /// The failure of the other request, or of earlier ones; `Setup`, `Deadline`.
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
        // Before they are read: a change while we read makes the note worthless, not wrong.
        let mut files = vec![invocation.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH)).to_owned()];
        files.push(keytab.to_owned());
        files.extend(depends_on(&config.krb5_config));
        let keys = machine_keys(keytab).unwrap_or_default();
        let purpose = serde_json::to_string(&(credentials, config.within())).map_err(|e| setup(&e))?;
        let stamp = Stamp::of(&keys, &config.krb5_config, &[&purpose]).map_err(|error| setup(&error))?;
        let ours = config.within().is_none() && served.places.container.is_none();
        let note = order.lustre().filter(|_| ours).map(|callout| Note::of(invocation, callout));
        let memories = memories(order, config, &stamp);
        if waits != Wait::Mount
            && let Some(failure) = memories.iter().flatten().find_map(FailureMemory::pause)
        {
            return Err(failure);
        }
        let turn = OwnCache::open(config, &stamp)?.turn(deadline)?;
        Ok(Some(Self { stamp, turn, store: TicketStore::of(config), reports: 0, note, files, memories }))
    }

    /// Of the own cache.
    pub(super) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Machine credentials are there, or there are more of them: from now on others can use them, too.
    ///
    /// # Errors
    /// `WorkerFault` if that has been said too often.
    pub(super) fn credentials_ready(
        &mut self,
        ready: Ready,
        cache: &Secret,
        config: &Config,
    ) -> Result<(), Failure> {
        self.reports += 1;
        if self.reports > READY_REPORTS_LIMIT {
            return Err(not_asked_for());
        }
        let stored = self.turn.succeeded(ready.good_until, cache, &self.store);
        if let (Some(until), Some(note), TicketStore::Own, true) =
            (ready.service_until, &self.note, &self.store, stored)
        {
            note.leave(until.into(), &path(config, &self.stamp), &self.files);
        }
        Ok(())
    }

    /// There are none, or they were of no use: others who wait need not fail in the same way one after another.
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

    /// Everything is well.
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
