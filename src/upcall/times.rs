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
    /// With so much time in all, and so much for a mount that is kept waiting.
    pub(super) fn of(started: Instant, limit: Duration, mounts: Option<Duration>) -> Self {
        let released = started + limit;
        Self { started, deadline: started + mounts.unwrap_or(limit).min(limit), released }
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
