//! How long an upcall may take, and how much of that its worker has.

use std::time::{Duration, Instant};

/// What a worker may need, beyond its time, to start and to report.
const REPORT_TIME: Duration = Duration::from_millis(1500);
/// How long before our deadline a worker gives up.
const TOTAL_MARGIN: Duration = Duration::from_millis(300);

/// How long a worker may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerTime {
    /// For the name service and the KDC.
    pub(super) kdc: Duration,
    /// In all.
    pub(super) total: Duration,
}

/// The times of an upcall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When the monitor took over.
    pub(super) started: Instant,
    /// The end of the current step.
    pub(super) deadline: Instant,
    /// The deadline once the requester has been released.
    pub(super) released: Instant,
}

impl Times {
    /// With `limit` in all; a mount is kept waiting until `mounts`.
    pub(super) fn of(started: Instant, limit: Duration, mounts: Option<Instant>) -> Self {
        let released = started + limit;
        Self { started, deadline: mounts.map_or(released, |end| end.min(released)), released }
    }

    /// The worker's time for name service and KDC. It ends before ours, so that the worker, which knows more, reports.
    pub(super) fn kdc(&self, limit: Duration) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        limit.min(left.saturating_sub(REPORT_TIME).max(left * 3 / 4))
    }

    /// The worker's time for all of its work.
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

    /// `found` is `expected`, or less by as much as a busy machine may take until here.
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
