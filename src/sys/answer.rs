//! Answers that may never come: library calls that cannot be interrupted while they wait for a file system, a daemon, a KDC
//! or a name service.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// No thread could be started, so nobody was asked.
    #[error("nobody could be asked: {0}")]
    NotAsked(#[from] io::Error),
    /// It did not come in time.
    #[error("no answer in time")]
    Late,
}

/// The answer, if it comes in time. A late question goes on in its thread, which ends with the process at the latest.
///
/// # Errors
/// [`NoAnswer`].
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let (sender, receiver) = mpsc::channel();
    // Nobody may be waiting any more.
    thread::Builder::new().spawn(move || drop(sender.send(question())))?;
    receiver.recv_timeout(limit).map_err(|_| NoAnswer::Late)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_answer_is_waited_for_so_long_and_no_longer() {
        assert_eq!(within(Duration::from_secs(60), || 7).unwrap(), 7);
        let begun = Instant::now();
        let late = within(Duration::from_millis(50), || thread::sleep(Duration::from_secs(60)));
        assert!(matches!(late, Err(NoAnswer::Late)) && begun.elapsed() < Duration::from_secs(30));
    }
}
