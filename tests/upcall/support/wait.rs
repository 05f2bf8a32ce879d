//! Waiting without fixed sleeps.

use std::time::{Duration, Instant};

/// Polls until `probe` has an answer.
///
/// # Panics
/// After `within`, saying what was waited for.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(start.elapsed() < within, "waited {within:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(4));
    }
}
