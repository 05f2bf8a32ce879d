//! The log lines about one upcall, written by the monitor once the requester has its answer.

use nix::unistd::Pid;

use super::failures::{self, LogAmount};
use super::negotiation::Ended;
use super::order::Order;
use super::outcome::{Journal, Outcome, Subject};
use super::shared::Shared;
use crate::config::Config;
use crate::event::Failure;
use crate::identity::requester::Wait;
use crate::negotiate::messages::Timing;

/// The lines of one upcall.
pub(super) struct Lines<'a> {
    journal: &'a Journal,
    config: &'a Config,
    subject: Subject,
    order: Option<&'a Order>,
    waits: Wait,
}

impl<'a> Lines<'a> {
    /// For the upcall in the shared memory.
    pub(super) fn of(shared: &'a Shared, journal: &'a Journal, config: &'a Config) -> Self {
        let order = shared.order().and_then(|order| order.as_ref().ok());
        let subject = Subject::of(&shared.invocation, shared.order());
        Self { journal, config, subject, order, waits: shared.waits() }
    }

    /// The line of a request that the front has refused.
    pub(super) fn refused(&self, failure: Failure) {
        self.journal.upcall(&self.subject, &Outcome::Failed(failure), &[]);
    }

    /// The line of an upcall. Failures of upcalls for the machine, which the kernel repeats twice a second, share a
    /// line if they are alike; a mount always has its own.
    pub(super) fn outcome(&self, outcome: &Outcome, timings: &[Timing]) {
        let Self { journal, subject, .. } = self;
        match (self.order.and_then(Order::machine_callout), outcome) {
            (Some(callout), Outcome::Failed(failure)) if self.waits != Wait::Mount => {
                match failures::say(self.config, failure, &callout.target) {
                    LogAmount::All => journal.upcall(subject, outcome, timings),
                    LogAmount::Times(times, seconds) => journal.repeated(subject, failure, times, seconds),
                    LogAmount::Nothing => {}
                }
            }
            _ => journal.upcall(subject, outcome, timings),
        }
    }

    /// The lines of a negotiation: its outcome, the choice of credentials, what was tried, what was not kept.
    pub(super) fn ended(&self, Ended { outcome, findings, .. }: &Ended) {
        self.outcome(outcome, &findings.timings);
        self.journal.considered(&self.subject, &findings.considered);
        self.journal.trail(&self.subject, &findings.trail);
        findings.hook_failed.iter().for_each(|reason| self.journal.hook_failed(&self.subject, reason));
        findings.not_in_keys.iter().for_each(|failure| self.journal.not_in_keys(&self.subject, failure));
    }

    /// The line of a process that was killed and does not end.
    pub(super) fn stuck(&self, process: Pid) {
        self.journal.stuck(&self.subject, process);
    }
}
