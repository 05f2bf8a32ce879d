//! What the monitor knows of a negotiation besides its outcome: how long its stages took, and the credentials to choose
//! from. For the log and the owner's record. Invariant: everything a worker reports is cut to its limits.

use std::time::Instant;

use super::ticket_store::NotStored;
use crate::class::Private;
use crate::config::LogLevel;
use crate::creds::ticket_keys::TicketKeyFailure;
use crate::event::{Failure, Stage, one_line};
use crate::negotiate::messages::{
    Considered, Established, Failed, SharedKeyEstablished, TRAIL_LIMIT, TRIED_LIMIT, Timing,
};

/// A worker has five stages, four of which may come twice. More are cut, so that the log line stays short.
const STAGES_LIMIT: usize = 10;

/// What is known of one negotiation so far.
#[derive(Debug)]
pub(super) struct Findings {
    started: Instant,
    level: LogLevel,
    /// The stages.
    pub(super) timings: Vec<Timing>,
    /// The credentials that the worker has chosen from.
    pub(super) considered: Considered,
    /// What the worker has tried, if that is to be logged.
    pub(super) trail: Vec<String>,
    /// The credentials that it has failed with.
    pub(super) tried: Private<Option<Vec<u64>>>,
    /// Why the machine's tickets are not in the keyring, if they are to be.
    pub(super) not_in_keys: Option<TicketKeyFailure>,
    /// Why the site's hook has nothing for the user; for the log alone.
    pub(super) hook_failed: Option<String>,
}

impl Findings {
    /// For a monitor that took over at `started` from a front that ran for `micros` microseconds.
    pub(super) fn new(started: Instant, micros: u32, level: LogLevel) -> Self {
        let timings = vec![Timing { stage: Stage::Authorise, micros }];
        let considered = Considered::default();
        Self {
            started,
            level,
            timings,
            considered,
            trail: Vec::new(),
            tried: Private::new(None),
            not_in_keys: None,
            hook_failed: None,
        }
    }

    /// Takes the report of a context.
    pub(super) fn established(&mut self, context: &mut Established) {
        self.keep_timings(&context.stages);
        self.considered = std::mem::take(&mut context.considered).sanitised();
        self.keep_trail(&context.trail);
    }

    /// Takes the report of a context by a shared key.
    pub(super) fn shared(&mut self, context: &SharedKeyEstablished) {
        self.keep_timings(&context.stages);
        self.keep_trail(&context.trail);
    }

    /// Records an exchange of the monitor's own.
    pub(super) fn exchanged(&mut self, begun: Instant) {
        let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.keep_timings(&[Timing { stage: Stage::Negotiate, micros }]);
    }

    /// Takes the report of a failure, which is returned fit for the log.
    pub(super) fn failed(&mut self, failed: Failed) -> Failure {
        self.keep_timings(&failed.stages);
        self.considered = failed.considered.sanitised();
        self.keep_trail(&failed.trail);
        let tried = failed.tried.into_exposed();
        self.tried = Private::new(tried.map(|tried| tried.into_iter().take(TRIED_LIMIT).collect()));
        failed.failure.sanitised()
    }

    /// Records whether the machine's tickets have been stored. A file that cannot be written has its own check
    /// (`lgss config check`).
    pub(super) fn tickets(&mut self, not_stored: Option<NotStored>) {
        if let Some(NotStored::InKeys(failure)) = not_stored {
            self.not_in_keys = Some(failure);
        }
    }

    /// Records that the monitor ends the negotiation. `last` is the worker's report of its stages with its last token,
    /// and when that came; the last stage has lasted since.
    pub(super) fn unreported(&mut self, failure: &Failure, last: Option<(Vec<Timing>, Instant)>) {
        let (mut stages, since) = last.unwrap_or_else(|| (Vec::new(), Instant::now()));
        let micros = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
        stages.push(Timing { stage: failure.stage, micros });
        self.keep_timings(&stages);
    }

    /// Keeps the worker's stages; the rest of the time since the monitor took over counts as launch.
    fn keep_timings(&mut self, stages: &[Timing]) {
        let total = u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX);
        let worker = stages.iter().fold(0u32, |sum, timing| sum.saturating_add(timing.micros));
        self.timings.push(Timing { stage: Stage::Launch, micros: total.saturating_sub(worker) });
        self.timings.extend(stages.iter().take(STAGES_LIMIT));
    }

    fn keep_trail(&mut self, trail: &[String]) {
        if self.level == LogLevel::Debug {
            self.trail = trail.iter().take(TRAIL_LIMIT).map(|line| one_line(line)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cause;
    use std::time::Duration;

    fn findings(level: LogLevel) -> Findings {
        let started = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        Findings::new(started, 300, level)
    }

    fn failed(stages: Vec<Timing>) -> Failed {
        let failure = Failure::new(Stage::Kdc, Cause::KdcDown, "two\nlines");
        let trail = (0..TRAIL_LIMIT + 5).map(|step| format!("step\n{step}")).collect();
        let tried = Private::new(Some((0..2 * TRIED_LIMIT as u64).collect()));
        Failed { stages, trail, tried, ..Failed::without_stages(failure) }
    }

    #[test]
    fn what_the_worker_does_not_account_for_is_launch() {
        let mut findings = findings(LogLevel::Info);
        findings.failed(failed(vec![Timing { stage: Stage::Kdc, micros: 4_000_000 }]));
        let stages: Vec<_> = findings.timings.iter().map(|timing| timing.stage).collect();
        assert_eq!(stages, [Stage::Authorise, Stage::Launch, Stage::Kdc]);
        assert_eq!(findings.timings[0].micros, 300);
        assert!((6_000_000..9_000_000).contains(&findings.timings[1].micros), "{:?}", findings.timings);
    }

    #[test]
    fn a_worker_that_claims_too_much_leaves_a_line_of_bounded_length() {
        let mut findings = findings(LogLevel::Debug);
        let failure = findings.failed(failed(vec![Timing { stage: Stage::Kdc, micros: u32::MAX }; 50]));
        assert!(!failure.detail.contains('\n'), "{failure}");
        assert_eq!((findings.timings.len(), findings.timings[1].micros), (2 + STAGES_LIMIT, 0));
        assert_eq!(findings.tried.expose().as_deref().map(<[u64]>::len), Some(TRIED_LIMIT));
        assert_eq!(findings.trail.len(), TRAIL_LIMIT);
        assert!(findings.trail.iter().all(|step| !step.contains('\n')));
    }

    #[test]
    fn what_was_tried_is_told_at_level_debug_only() {
        let mut findings = findings(LogLevel::Info);
        findings.failed(failed(Vec::new()));
        assert_eq!(findings.trail, [""; 0]);
    }

    #[test]
    fn the_last_stage_of_a_silent_worker_has_lasted_since_its_last_token() {
        let mut findings = findings(LogLevel::Info);
        let told = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let failure = Failure::new(Stage::Negotiate, Cause::Deadline, "the deadline");
        findings.unreported(&failure, Some((vec![Timing { stage: Stage::Kdc, micros: 70 }], told)));
        let stages: Vec<_> = findings.timings.iter().map(|timing| timing.stage).collect();
        assert_eq!(stages, [Stage::Authorise, Stage::Launch, Stage::Kdc, Stage::Negotiate]);
        assert!(findings.timings[3].micros >= 2_000_000, "{:?}", findings.timings);
    }
}
