//! Waiting with a deadline instead of a fixed sleep.

use std::time::{Duration, Instant};

/// Polls until `probe` has an answer.
///
/// # Panics
/// After `within` (longer on a busy machine: [`stretched`]), naming `what`.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        let waited = start.elapsed();
        assert!(waited < within || waited < stretched(within), "waited {waited:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(4));
    }
}

/// Panics unless `took` is at least `least_secs` and less than `limit`.
#[track_caller]
pub(crate) fn assert_lasted(took: Duration, least_secs: u64, limit: Duration) {
    assert!(took >= Duration::from_secs(least_secs) && took < limit, "took {took:?}");
}

/// A limit for an idle machine, stretched for the load of this one: multiplied by the number of processes per core,
/// either those running now or the last minute's average, whichever is more; at most three times. A limit that
/// tells two cases apart must stay below the second one: its caller takes the smaller of both.
pub(crate) fn stretched(limit: Duration) -> Duration {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap();
    let mut fields = loads.split([' ', '/']);
    let last_minute: f64 = fields.next().unwrap().parse().unwrap();
    let running: f64 = fields.nth(2).unwrap().parse().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    limit.mul_f64((last_minute.max(running) / cores as f64).clamp(1.0, 3.0))
}
