//! What each user has done lately: connections in a second, and agents that have ended at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An agent that ends earlier than this was not worth starting.
pub(super) const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// The pause after one such agent, and the longest; each doubles the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A user is told of once in this time.
const TOLD_AGAIN: Duration = Duration::from_secs(10);
/// Above this many, those about whom there is nothing to remember are forgotten.
const MANY: usize = 1024;

/// All users who have been seen lately.
#[derive(Debug)]
pub(super) struct Visitors {
    /// Connections in a second; twice as many may come at once.
    rate: u32,
    seen: BTreeMap<u32, Visitor>,
    most: usize,
}

#[derive(Debug)]
struct Visitor {
    /// Connections that may still come, at that time.
    left: f64,
    counted: Instant,
    /// Agents that ended at once, one after the other.
    failures: u32,
    paused: Option<(Instant, PauseReason)>,
    told: Option<Instant>,
}

/// Why no agent is started for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PauseReason {
    /// They ended at once.
    Ended,
    /// There are too many.
    Refused,
}

impl Visitors {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, seen: BTreeMap::new(), most: MANY }
    }

    /// Counts a connection. Returns whether it is one too many.
    pub(super) fn is_too_fast(&mut self, uid: u32, now: Instant) -> bool {
        let rate = f64::from(self.rate);
        let visitor = self.visitor(uid, now);
        let passed = now.saturating_duration_since(visitor.counted).as_secs_f64();
        visitor.left = (visitor.left + passed * rate).min(2.0 * rate);
        visitor.counted = now;
        let too_fast = visitor.left < 1.0;
        if !too_fast {
            visitor.left -= 1.0;
        }
        too_fast
    }

    /// Why no agent is to be started for this user now; none if one may be.
    pub(super) fn paused(&mut self, uid: u32, now: Instant) -> Option<PauseReason> {
        let paused = self.visitor(uid, now).paused.filter(|&(until, _)| now < until);
        paused.map(|(_, reason)| reason)
    }

    /// The keeper has started no agent, and is not asked again at once.
    pub(super) fn agent_refused(&mut self, uid: u32, now: Instant) {
        let until = now.checked_add(FIRST_PAUSE);
        self.visitor(uid, now).paused = until.map(|until| (until, PauseReason::Refused));
    }

    /// An agent has ended without having said so. Returns the pause, if it lived too short.
    pub(super) fn agent_ended(
        &mut self,
        uid: u32,
        started: Option<Instant>,
        now: Instant,
    ) -> Option<Duration> {
        let visitor = self.visitor(uid, now);
        if started.is_none_or(|started| now.saturating_duration_since(started) >= SHORTEST_LIFE) {
            visitor.failures = 0;
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << visitor.failures.min(10)).min(LONGEST_PAUSE);
        visitor.failures += 1;
        visitor.paused = now.checked_add(pause).map(|until| (until, PauseReason::Ended));
        Some(pause)
    }

    /// Whether a line of the log may be about this user again.
    pub(super) fn may_be_told(&mut self, uid: u32, now: Instant) -> bool {
        let visitor = self.visitor(uid, now);
        let may = visitor.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_AGAIN);
        if may {
            visitor.told = Some(now);
        }
        may
    }

    fn visitor(&mut self, uid: u32, now: Instant) -> &mut Visitor {
        if self.seen.len() > self.most {
            self.seen.retain(|_, visitor| visitor.is_remembered(now));
            // Not at each connection while there is nothing to forget.
            self.most = MANY.max(2 * self.seen.len());
        }
        let left = 2.0 * f64::from(self.rate);
        self.seen.entry(uid).or_insert(Visitor { left, counted: now, failures: 0, paused: None, told: None })
    }
}

impl Visitor {
    /// Its connections are forgotten after two seconds, by which it may make all again.
    fn is_remembered(&self, now: Instant) -> bool {
        let within = |since: Instant, time| now.saturating_duration_since(since) < time;
        within(self.counted, Duration::from_secs(2))
            || self.told.is_some_and(|told| within(told, TOLD_AGAIN))
            || self.paused.is_some_and(|(until, _)| within(until, LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_is_too_fast_waits_and_others_do_not() {
        let mut visitors = Visitors::new(5);
        let start = Instant::now();
        let count =
            |visitors: &mut Visitors, uid, now| (0..100).filter(|_| !visitors.is_too_fast(uid, now)).count();
        assert_eq!(count(&mut visitors, 1, start), 10);
        assert_eq!(count(&mut visitors, 2, start), 10);
        assert_eq!(count(&mut visitors, 1, start + Duration::from_secs(1)), 5);
        assert_eq!(count(&mut visitors, 1, start + Duration::from_secs(100)), 10);
    }

    #[test]
    fn pauses_double_until_an_agent_has_lived() {
        let mut visitors = Visitors::new(5);
        let start = Instant::now();
        let pauses: Vec<_> =
            (0..7).map(|_| visitors.agent_ended(1, Some(start), start).unwrap().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(visitors.paused(1, start + Duration::from_secs(29)), Some(PauseReason::Ended));
        assert_eq!(visitors.paused(2, start), None);
        assert_eq!(visitors.paused(1, start + LONGEST_PAUSE), None);
        assert_eq!(visitors.agent_ended(1, Some(start), start + SHORTEST_LIFE), None);
        assert_eq!(visitors.agent_ended(1, Some(start), start), Some(FIRST_PAUSE));
        // One of an earlier start of this program.
        assert_eq!(visitors.agent_ended(1, None, start), None);
    }

    #[test]
    fn a_refusal_is_no_failure_of_an_agent() {
        let mut visitors = Visitors::new(5);
        let start = Instant::now();
        (0..9).for_each(|_| visitors.agent_refused(1, start));
        assert_eq!(visitors.paused(1, start), Some(PauseReason::Refused));
        assert_eq!(visitors.paused(1, start + FIRST_PAUSE), None);
        assert_eq!(visitors.agent_ended(1, Some(start), start), Some(FIRST_PAUSE));
    }

    #[test]
    fn what_is_over_is_forgotten_and_a_pause_is_not() {
        let mut visitors = Visitors::new(5);
        let start = Instant::now();
        let later = start + Duration::from_secs(20);
        for uid in 0..5000 {
            visitors.is_too_fast(uid, start);
        }
        for _ in 0..6 {
            visitors.agent_ended(7, Some(later), later);
        }
        for uid in 10_000..16_000 {
            visitors.is_too_fast(uid, later);
        }
        assert!(
            visitors.seen.len() < 11_000 && visitors.paused(7, later).is_some(),
            "{}",
            visitors.seen.len()
        );
        assert!(visitors.may_be_told(7, later) && !visitors.may_be_told(7, later));
    }
}
