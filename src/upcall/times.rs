//! How long an upcall may take, and what of that its worker has.

use std::time::{Duration, Instant};

/// What a worker may need to start and to report after its time.
const REPORT_TIME: Duration = Duration::from_millis(1500);
/// How long before our deadline a worker gives up.
const TOTAL_MARGIN: Duration = Duration::from_millis(300);

/// The times of an upcall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When the monitor took over.
    pub(super) started: Instant,
    /// The end of what is done now.
    pub(super) deadline: Instant,
    /// The deadline once the requester has been released.
    pub(super) released: Instant,
}

impl Times {
    /// With so much time in all; a mount that is kept waiting is until `mounts`.
    pub(super) fn of(started: Instant, limit: Duration, mounts: Option<Instant>) -> Self {
        let released = started + limit;
        Self { started, deadline: mounts.map_or(released, |end| end.min(released)), released }
    }

    /// The time that the worker has for name service and KDC: it shall report before we give up, since it knows more.
    pub(super) fn kdc(&self, limit: Duration) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        limit.min(left.saturating_sub(REPORT_TIME).max(left * 3 / 4))
    }

    /// The same for all of its work.
    pub(super) fn total(&self) -> Duration {
        let left = self.released.saturating_duration_since(Instant::now());
        left - (left / 10).min(TOTAL_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(100);

    fn times(mounts: Option<Duration>) -> Times {
        let started = Instant::now();
        Times::of(started, LIMIT, mounts.map(|mounts| started + mounts))
    }

    /// What a busy machine may take from `expected` before it is looked at.
    #[track_caller]
    fn about(found: Duration, expected: Duration) {
        assert!(found <= expected && found + Duration::from_secs(5) > expected, "{found:?} {expected:?}");
    }

    #[test]
    fn a_mount_ends_earlier_than_what_goes_on_after_its_release_and_nothing_ends_later() {
        let times = times(Some(Duration::from_secs(10)));
        assert_eq!(times.deadline - times.started, Duration::from_secs(10));
        assert_eq!(times.released - times.started, LIMIT);
        for mounts in [None, Some(LIMIT * 2)] {
            let times = self::times(mounts);
            assert_eq!((times.deadline - times.started, times.released - times.started), (LIMIT, LIMIT));
        }
    }

    #[test]
    fn a_worker_reports_before_we_give_up() {
        // A second and a half before, or a quarter of what there is if that is less.
        let kdc = |mounts| times(Some(Duration::from_millis(mounts))).kdc(Duration::from_secs(20));
        about(kdc(90_000), Duration::from_secs(20));
        about(kdc(10_000), Duration::from_millis(8500));
        about(kdc(4000), Duration::from_millis(3000));
        assert_eq!(kdc(0), Duration::ZERO);
        about(times(None).total(), LIMIT - TOTAL_MARGIN);
        let now = Instant::now();
        assert_eq!(Times::of(now, Duration::ZERO, None).total(), Duration::ZERO);
    }
}
