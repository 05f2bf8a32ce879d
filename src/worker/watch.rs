//! The worker's watchdog: the current stage, its start and its deadline; and the only way to report.
//!
//! libkrb5 and getaddrinfo can block for longer than a stage may take, and cannot be interrupted. So a thread waits for the
//! deadline, reports in the main thread's place and ends the process. Invariant: the first to report takes the pipes out of
//! the lock, so there is one report.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::outcome::WorkerOutcome;
use crate::class::Private;
use crate::ctx::request::Service;
use crate::event::{Cause, Failure, Stage};
use crate::gss::trace::{self, Waiting};
use crate::negotiate::messages::{
    Considered, Established, Failed, FrameError, Ready, TestedPrime, Timing, Trail, WorkerEnd, trail_of,
};
use crate::secret::Secret;
use crate::sys::process;

/// Extra time for a stage's own timeouts, which know more than this one, before the process is ended.
const GRACE: Duration = Duration::from_millis(500);

/// The main thread's handle.
pub(super) struct Watch(Arc<SharedWatch>);

struct SharedWatch {
    state: Mutex<WatchState>,
    changed: Condvar,
}

struct WatchState {
    /// `None` once somebody has reported.
    link: Option<WorkerEnd>,
    current: Option<Current>,
    /// The end of every stage.
    end: Instant,
    stages: Vec<Timing>,
    considered: Considered,
    trail: Trail,
    tried: Option<Vec<u64>>,
}

/// Everything that a report needs besides the outcome.
struct Conclusion {
    link: WorkerEnd,
    considered: Considered,
    stages: Vec<Timing>,
    trail: Vec<String>,
    tried: Option<Vec<u64>>,
}

struct Current {
    stage: Stage,
    begun: Instant,
    deadline: Instant,
    overdue: Failure,
}

impl Watch {
    /// Starts the clock's thread. At `end` the current stage is reported as overdue.
    ///
    /// # Errors
    /// EAGAIN at a limit of threads.
    pub(super) fn over(link: WorkerEnd, end: Instant, trail: Trail) -> io::Result<Self> {
        let (stages, considered) = (Vec::new(), Considered::default());
        let state =
            WatchState { link: Some(link), current: None, end, stages, considered, trail, tried: None };
        let shared = Arc::new(SharedWatch { state: Mutex::new(state), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        thread::Builder::new().name("deadline".to_owned()).spawn(move || watched.wait())?;
        Ok(Self(shared))
    }

    /// Enters the stage of `overdue`, or goes on in it. If it does not end by `deadline`, `overdue` is reported.
    pub(super) fn enter(&self, deadline: Instant, overdue: Failure) {
        let mut state = self.0.lock();
        let stage = overdue.stage;
        let deadline = (deadline + GRACE).min(state.end);
        // The thread needs no wake-up for a later deadline: it looks again when it wakes.
        let sooner = state.current.as_ref().is_none_or(|current| deadline < current.deadline);
        let begun = match state.current.take() {
            Some(current) if current.stage == stage => current.begun,
            previous => {
                state.stages.extend(previous.map(|current| current.timing()));
                Instant::now()
            }
        };
        state.current = Some(Current { stage, begun, deadline, overdue });
        drop(state);
        if sooner {
            self.0.changed.notify_one();
        }
    }

    /// Enters the KDC stage, for a ticket of `whose` for the service.
    pub(super) fn enter_kdc(&self, whose: &str, service: &Service, deadline: Instant) {
        self.enter(deadline, kdc_silent(whose, service));
    }

    /// Keeps the choice of credentials for the report.
    pub(super) fn consider(&self, considered: Considered) {
        self.0.lock().considered = considered;
    }

    /// Keeps the fingerprints of the user's credentials, for the report of a failure.
    pub(super) fn keep_tried(&self, tried: Vec<u64>) {
        self.0.lock().tried = Some(tried);
    }

    /// Sends a token to the monitor, unless an overdue stage has been reported.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(super) fn send_token(&self, token: &Secret) -> Result<(), FrameError> {
        let mut state = self.0.lock();
        let stages = state.stages.clone();
        state.link.as_mut().map_or(Err(FrameError::Closed), |link| link.send_token(token, &stages))
    }

    /// Tells the monitor that machine credentials are ready.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(super) fn send_ready(&self, ready: Ready, cache: Option<&Secret>) -> Result<(), FrameError> {
        let mut state = self.0.lock();
        state.link.as_mut().map_or(Err(FrameError::Closed), |link| link.send_ready(ready, cache))
    }

    /// Tells the monitor that a prime need not be tested again.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(super) fn send_tested_prime(&self, prime: TestedPrime) -> Result<(), FrameError> {
        let mut state = self.0.lock();
        state.link.as_mut().map_or(Err(FrameError::Closed), |link| link.send_tested_prime(prime))
    }

    /// Other handles of the pipes, to receive without the lock.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(super) fn receiver(&self) -> Result<WorkerEnd, FrameError> {
        let state = self.0.lock();
        state.link.as_ref().map_or(Err(FrameError::Closed), WorkerEnd::another)
    }

    /// Reports the context. `None` if that failed.
    pub(super) fn report_established(self, outcome: &WorkerOutcome) -> Option<()> {
        let Conclusion { mut link, considered, stages, trail, .. } = self.0.lock().conclude()?;
        match outcome {
            WorkerOutcome::Kerberos(outcome) => {
                let context = Established { trail, ..outcome.message(considered, stages) };
                link.send_established(&context, outcome.base_key(), outcome.handle()).ok()
            }
            WorkerOutcome::SharedKey(outcome) => {
                link.send_shared(&outcome.message(stages, trail), &outcome.keys()).ok()
            }
        }
    }

    /// Reports the failure. `None` if that failed.
    pub(super) fn report_failed(self, failure: Failure) -> Option<()> {
        let conclusion = self.0.lock().conclude()?;
        conclusion.send_failed(failure).ok()
    }
}

impl SharedWatch {
    fn lock(&self) -> MutexGuard<'_, WatchState> {
        // No code under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread. Returns when somebody has reported; ends the process if a deadline passes.
    fn wait(&self) {
        let mut state = self.lock();
        while state.link.is_some() {
            let left = state.current.as_ref().map(|c| c.deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return state.expire(),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl WatchState {
    /// Takes the pipes and ends the last stage.
    fn conclude(&mut self) -> Option<Conclusion> {
        let link = self.link.take()?;
        self.stages.extend(self.current.take().map(|current| current.timing()));
        let considered = std::mem::take(&mut self.considered);
        let trail = match self.trail {
            Trail::Untold => Vec::new(),
            Trail::Told => {
                let (lines, more) = trace::lines();
                trail_of(lines, more)
            }
        };
        let (stages, tried) = (std::mem::take(&mut self.stages), self.tried.take());
        Some(Conclusion { link, considered, stages, trail, tried })
    }

    fn expire(&mut self) {
        let Some(failure) = self.current.as_ref().map(|current| current.overdue.clone()) else { return };
        let failure = with_silent_party(failure);
        if let Some(conclusion) = self.conclude() {
            let sent = conclusion.send_failed(failure);
            // Not exit(): the main thread is inside a library that has exit handlers.
            process::end(i32::from(sent.is_err()));
        }
    }
}

impl Conclusion {
    fn send_failed(self, failure: Failure) -> Result<(), FrameError> {
        let Self { mut link, considered, stages, trail, tried } = self;
        link.send_failed(&Failed { failure, considered, stages, trail, tried: Private::new(tried) })
    }
}

impl Current {
    fn timing(&self) -> Timing {
        let micros = u32::try_from(self.begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        Timing { stage: self.stage, micros }
    }
}

/// The failure with its silent party named: KDCs, or the name service that should find them.
pub(super) fn with_silent_party(silent: Failure) -> Failure {
    if silent.cause != Cause::KdcSilent {
        return silent;
    }
    match trace::waiting() {
        Some(Waiting::Name(name)) => {
            let detail = format_args!("{}: name {name}: the name service does not answer", silent.detail);
            Failure::new(silent.stage, Cause::NameServiceSilent, detail)
        }
        Some(Waiting::Kdcs(kdcs)) => {
            Failure::new(silent.stage, silent.cause, format_args!("{}: {kdcs}", silent.detail))
        }
        None => silent,
    }
}

/// The failure for a KDC that has not answered in time.
pub(super) fn kdc_silent(whose: &str, service: &Service) -> Failure {
    let detail = format_args!("ticket of {whose} for {service}: no answer in time");
    Failure::new(Stage::Kdc, Cause::KdcSilent, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiate::messages::{Message, MonitorEnd, Report};

    #[test]
    fn one_report_is_sent_with_every_stage_that_was_entered() {
        let (monitor, worker) = crate::sys::duplex::Duplex::pair().unwrap();
        let (mut monitor, later) = (MonitorEnd::over(monitor), Instant::now() + Duration::from_secs(60));
        let watch = Watch::over(WorkerEnd::over(worker), later, Trail::Untold).unwrap();
        let overdue = |stage| Failure::new(stage, Cause::KdcSilent, "overdue");
        watch.enter(later, overdue(Stage::Kdc));
        watch.enter(later, overdue(Stage::Negotiate));
        watch.enter(later, overdue(Stage::Negotiate));
        watch.report_failed(Failure::new(Stage::Negotiate, Cause::BadReply, "wrong")).unwrap();
        let Message::Report(Report::Failed(report)) = monitor.receive_message(later).unwrap() else {
            panic!("not a failure")
        };
        assert_eq!(report.failure.detail, "wrong");
        let stages: Vec<_> = report.stages.iter().map(|timing| timing.stage).collect();
        assert_eq!(stages, [Stage::Kdc, Stage::Negotiate]);
        assert!(matches!(monitor.receive_message(later), Err(FrameError::Closed)));
    }
}
