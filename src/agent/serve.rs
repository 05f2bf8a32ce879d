//! The loop: one thread, one poll(2), timers. Called by start.rs; changes go through [`Collections::apply`].
//!
//! Invariant: nothing in the loop blocks, and no connection keeps another one waiting for more than a few requests.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::change::StorageError;
use super::codec::{KcmReply, Opcode};
use super::collections::Collections;
use super::connection::{Connection, ReadSoFar};
use super::deadlines::{next_deadline, patience_ends};
use super::expiry::{Pressure, sweep};
use super::intake::{Intake, IntakeArrival};
use super::journal::{AgentJournal, Topic};
use super::limits::{REPLY_LIMIT, StoreLimits, UNDER_WAY};
use super::lock::MemoryLock;
use super::operations::{Desk, KcmRefusal};
use super::peer::{ClientScope, scope_of};
use super::renewal::Renewals;
use crate::config::{AgentSettings, LogLevel};
use crate::time::now_32;

/// Most connections; for another one, the one that has been idle for longest is closed.
pub(super) const CONNECTIONS: usize = 512;
/// How often expired caches are looked for.
const SWEEP: Duration = Duration::from_secs(300);
/// Most requests of a connection before the next one's turn.
const IN_A_ROW: usize = 16;
/// How long a request waits for room that the kernel has yet to free, and how often it is tried again.
const ROOM_WITHIN: Duration = Duration::from_secs(3);
const ROOM_LOOK: Duration = Duration::from_millis(100);
/// The pause after a lack of descriptors or memory.
const SCARCE: Duration = Duration::from_millis(200);

/// The server.
pub(super) struct Agent {
    uid: u32,
    settings: AgentSettings,
    limits: StoreLimits,
    intake: Intake,
    connections: Vec<Connection>,
    collections: Collections,
    /// `None` if no ticket is renewed.
    renewals: Option<Renewals>,
    journal: AgentJournal,
    /// When the last connection or request came.
    last_active: Instant,
    next_sweep: Instant,
    /// No connection is taken before.
    scarce_until: Instant,
    lock: MemoryLock,
    asked_to_leave: bool,
    /// Another agent has taken over the caches.
    superseded: bool,
    /// When the storage has something to do.
    next_tending: Option<Instant>,
}

/// What poll(2) has found.
struct Readiness {
    ending: bool,
    arrivals: bool,
    /// Positions in the list of connections, the greatest first.
    connections: Vec<usize>,
}

impl Agent {
    /// A server of this user's caches.
    pub(super) fn new(
        (uid, settings): (u32, AgentSettings),
        intake: Intake,
        collections: Collections,
        renewals: Option<Renewals>,
        journal: AgentJournal,
    ) -> Self {
        let now = Instant::now();
        Self {
            uid,
            settings,
            limits: StoreLimits::of(&settings),
            intake,
            connections: Vec::new(),
            collections,
            renewals,
            journal,
            last_active: now,
            next_sweep: now + SWEEP,
            scarce_until: now,
            lock: MemoryLock::default(),
            asked_to_leave: false,
            superseded: false,
            next_tending: Some(now),
        }
    }

    /// Serves until a signal, or until there is nothing to serve any more.
    pub(super) fn serve(mut self, ending: &SignalFd, begun: Instant) {
        self.lock.renew(self.collections.size(), &mut self.journal);
        let mut now = begun;
        loop {
            self.tidy(now);
            if self.is_over(now) {
                return;
            }
            let ready = self.wait(ending, now);
            now = Instant::now();
            if ready.ending {
                self.journal.tell_loss("ended by a signal", &self.collections);
                return;
            }
            for at in ready.connections {
                self.attend(at, now);
            }
            if ready.arrivals {
                self.let_in(now);
            }
        }
    }

    /// Waits for something to do, or for the next deadline.
    fn wait(&self, ending: &SignalFd, now: Instant) -> Readiness {
        let (mut set, arrivals) = self.awaited(ending, now);
        let left = self.next_deadline(now).map(|deadline| deadline.saturating_duration_since(now));
        // Rounded up, so that the last millisecond is not spent in a busy loop.
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
        });
        // An interrupted call is one that has found nothing.
        let _ = poll(&mut set, timeout).inspect_err(|_| set.clear());
        let is_ready = |at: usize| set.get(at).is_some_and(|fd| fd.any().unwrap_or(false));
        let first = 1 + usize::from(arrivals);
        let connections = (0..self.connections.len()).rev().filter(|at| is_ready(first + at)).collect();
        Readiness { ending: is_ready(0), arrivals: arrivals && is_ready(1), connections }
    }

    /// What is waited for: signals, arrivals (if any can be taken), the connections, then renewals.
    fn awaited<'a>(&'a self, ending: &'a SignalFd, now: Instant) -> (Vec<PollFd<'a>>, bool) {
        let mut set = vec![PollFd::new(ending.as_fd(), PollFlags::POLLIN)];
        let has_room = self.connections.len() < CONNECTIONS || self.longest_idle().is_some();
        let arrivals = self.intake.awaited().filter(|_| has_room && now >= self.scarce_until);
        set.extend(arrivals.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        set.extend(self.connections.iter().map(|connection| {
            match (connection.due(), connection.awaited()) {
                // Not looked at before its time; nothing is ever found here.
                (Some(_), _) => PollFd::new(ending.as_fd(), PollFlags::empty()),
                (None, (fd, flags)) => PollFd::new(fd, flags),
            }
        }));
        let renewals = self.renewals.iter().flat_map(Renewals::awaited);
        set.extend(renewals.map(|(fd, flags)| PollFd::new(fd, flags)));
        (set, arrivals.is_some())
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let sweep = (self.collections.count() > 0).then_some(self.next_sweep);
        let leave =
            (self.may_leave() && !self.asked_to_leave).then(|| self.last_active + self.settings.idle.0);
        let scarce = (self.scarce_until > now).then_some(self.scarce_until);
        let renewals = self.renewals.as_ref().and_then(Renewals::next_deadline);
        let timers = [sweep, scarce, renewals, self.next_tending];
        next_deadline(&self.connections, self.settings.idle.0, leave, timers)
    }

    /// Whether the process may end once it has been idle for long.
    fn may_leave(&self) -> bool {
        self.is_empty() && self.intake.is_served_by_others()
    }

    fn is_empty(&self) -> bool {
        self.collections.count() == 0
    }

    /// Does what is due at this time.
    fn tidy(&mut self, now: Instant) {
        let idle = self.settings.idle.0;
        let over: Vec<usize> = (0..self.connections.len())
            .rev()
            .filter(|&at| self.connections.get(at).is_some_and(|one| patience_ends(one, idle) <= now))
            .collect();
        for at in over {
            if self.connections.get(at).is_some_and(Connection::is_idle) {
                self.end_idle(at, now);
            } else {
                self.connections.swap_remove(at);
            }
        }
        let is_due = |connection: &Connection| connection.due().is_some_and(|due| due <= now);
        for at in (0..self.connections.len()).rev() {
            if self.connections.get(at).is_some_and(is_due) {
                self.attend(at, now);
            }
        }
        if self.next_tending.is_some_and(|due| due <= now) {
            self.next_tending = self.collections.tend(now);
        }
        self.superseded |= self.collections.is_superseded();
        if !self.superseded {
            self.maintain(now);
        }
    }

    /// Renews and drops tickets, as long as no other agent does.
    fn maintain(&mut self, now: Instant) {
        if let Some(renewals) = &mut self.renewals {
            let attended = renewals.attend(&mut self.collections, &self.limits, &mut self.journal, now);
            self.superseded |= attended.is_err();
        }
        if now >= self.next_sweep && !self.is_empty() && !self.superseded {
            self.next_sweep = now + SWEEP;
            let mut dropped = Vec::new();
            let swept = sweep(&mut self.collections, Pressure::None, now_32(), &mut dropped);
            self.journal.tell_dropped(dropped);
            match swept {
                Ok(()) => {}
                Err(StorageError::Superseded) => self.superseded = true,
                Err(error) => self.journal.say(LogLevel::Error, Topic::Storage, error),
            }
        }
    }

    /// Whether there is nothing to serve any more. Asks to be let go where somebody can.
    fn is_over(&mut self, now: Instant) -> bool {
        if self.superseded {
            let said = format_args!("ended: {}", StorageError::Superseded);
            self.journal.say(LogLevel::Info, Topic::Process, said);
            return true;
        }
        if matches!(self.intake, Intake::Closed) && self.connections.is_empty() {
            self.journal.tell_loss("ended, since lgss_kcm is gone", &self.collections);
            return true;
        }
        let idle = now.saturating_duration_since(self.last_active) >= self.settings.idle.0;
        if self.asked_to_leave || !idle || !self.may_leave() {
            return false;
        }
        while let Some(at) = self.longest_idle() {
            self.end_idle(at, now);
        }
        // Somebody may have come at the last moment.
        self.let_in(now);
        if !self.connections.is_empty() || !self.is_empty() {
            return false;
        }
        self.asked_to_leave = true;
        self.intake.ask_to_leave()
    }

    /// Takes those who have come, as long as there is room.
    fn let_in(&mut self, now: Instant) {
        for _ in 0..IN_A_ROW {
            if self.connections.len() >= CONNECTIONS {
                match self.longest_idle() {
                    Some(at) => self.end_idle(at, now),
                    None => return,
                }
            }
            match self.intake.take() {
                Ok(IntakeArrival::Connection(socket)) => {
                    (self.asked_to_leave, self.last_active) = (false, now);
                    match scope_of(&socket, self.uid, self.settings.scope) {
                        Ok(scope) => self.connections.push(Connection::new(socket, scope, now)),
                        Err(fault) => self.journal.say(LogLevel::Warn, Topic::Peer, fault),
                    }
                }
                Ok(IntakeArrival::Garbage) => self.asked_to_leave = false,
                Ok(IntakeArrival::Lost) => {
                    (self.asked_to_leave, self.scarce_until) = (false, now + SCARCE);
                    let words =
                        "a connection is closed: the kernel gave no descriptor, as with too many open files";
                    return self.journal.say(LogLevel::Warn, Topic::Peer, words);
                }
                Ok(IntakeArrival::Nothing) => return,
                Ok(IntakeArrival::DoorClosed) => {
                    if !self.asked_to_leave {
                        let notice = "lgss_kcm has closed the door; open connections are served on";
                        self.journal.say(LogLevel::Info, Topic::Process, notice);
                    }
                    return;
                }
                Err(errno) => {
                    self.scarce_until = now + SCARCE;
                    let words = format_args!("a connection waits: {errno}");
                    return self.journal.say(LogLevel::Warn, Topic::Peer, words);
                }
            }
        }
    }

    fn longest_idle(&self) -> Option<usize> {
        let idle = self.connections.iter().enumerate().filter(|(_, connection)| connection.is_idle());
        idle.min_by_key(|(_, connection)| connection.moved()).map(|(at, _)| at)
    }

    /// Ends a connection without request, unless one has just come: that is answered.
    fn end_idle(&mut self, at: usize, now: Instant) {
        if let Some(connection) = self.connections.get(at) {
            connection.refuse_more();
        }
        self.attend(at, now);
    }

    /// Reads, answers and writes what can be on one connection. Takes it from the list if it has ended.
    fn attend(&mut self, at: usize, now: Instant) {
        if !self.exchange(at, now) {
            self.connections.swap_remove(at);
        }
        self.lock.renew(self.collections.size(), &mut self.journal);
    }

    /// Returns whether the connection goes on.
    fn exchange(&mut self, at: usize, now: Instant) -> bool {
        for _ in 0..IN_A_ROW {
            let room = UNDER_WAY.saturating_sub(self.connections.iter().map(Connection::held).sum());
            let Some(connection) = self.connections.get_mut(at) else { return true };
            if !connection.send(now) {
                return false;
            }
            let received = match (connection.resume(now), connection.due(), connection.awaited()) {
                (Some((opcode, parameters, since)), ..) => (ReadSoFar::Request(opcode, parameters), since),
                (None, None, (_, PollFlags::POLLIN)) => (connection.receive(&self.limits, room, now), now),
                _ => return true,
            };
            let answer = match received {
                (ReadSoFar::NotYet, _) => return true,
                (ReadSoFar::Closed, _) => return false,
                (ReadSoFar::Refused(refusal), _) => Err(refusal),
                (ReadSoFar::Request(opcode, parameters), since) => {
                    let scope = connection.scope().clone();
                    self.last_active = now;
                    let answer = self.answer(
                        &scope,
                        (opcode, parameters.expose()),
                        room.saturating_sub(parameters.len()),
                    );
                    if self.superseded {
                        return false;
                    }
                    if self.may_fit(&answer, since, now) {
                        if let Some(connection) = self.connections.get_mut(at) {
                            connection.postpone((opcode, parameters), since, now + ROOM_LOOK);
                        }
                        return true;
                    }
                    answer
                }
            };
            let reply = answer.unwrap_or_else(|refusal| {
                self.journal.tell_refusal(&refusal);
                KcmReply::status(refusal.status())
            });
            let Some(connection) = self.connections.get_mut(at) else { return true };
            connection.reply(reply, now);
            if !connection.send(now) {
                return false;
            }
        }
        true
    }

    fn answer(
        &mut self,
        scope: &ClientScope,
        (opcode, parameters): (Opcode, &[u8]),
        room: usize,
    ) -> Result<KcmReply, KcmRefusal> {
        self.superseded |= self.collections.is_superseded();
        if self.superseded {
            return Err(StorageError::Superseded.into());
        }
        let mut dropped = Vec::new();
        let mut desk = Desk {
            collections: &mut self.collections,
            scope,
            limits: &self.limits,
            uid: self.uid,
            now: now_32(),
            room: room.min(REPLY_LIMIT),
            dropped: &mut dropped,
        };
        let answer = desk.answer(opcode, parameters);
        self.journal.tell_dropped(dropped);
        self.superseded |= matches!(answer, Err(KcmRefusal::Storage(StorageError::Superseded)));
        answer
    }

    /// Whether a request that had no room may have some soon.
    fn may_fit(&self, answer: &Result<KcmReply, KcmRefusal>, since: Instant, now: Instant) -> bool {
        matches!(answer, Err(KcmRefusal::Storage(StorageError::Quota(_))))
            && now.saturating_duration_since(since) < ROOM_WITHIN
            && self.collections.frees_room(now)
    }
}
