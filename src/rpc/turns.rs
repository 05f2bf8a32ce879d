//! Turns that threads take one after the other, each waiting no longer than it may: a lock with a deadline.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Whether it is somebody's turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    is_taken: Mutex<bool>,
    freed: Condvar,
}

/// A thread's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// A turn; `None` if there is none until the deadline.
    pub(super) fn take(&self, deadline: Instant) -> Option<Turn<'_>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.freed.wait_timeout_while(self.lock(), left, |is_taken| *is_taken);
        let (mut is_taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *is_taken {
            return None;
        }
        *is_taken = true;
        Some(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_turn_is_waited_for_until_the_deadline_and_not_longer() {
        let turns = Turns::default();
        let first = turns.take(Instant::now()).unwrap();
        assert!(turns.take(Instant::now() + Duration::from_millis(20)).is_none());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.take(Instant::now() + Duration::from_secs(60)).is_some());
            drop(first);
            assert!(waiting.join().unwrap());
        });
        assert!(turns.take(Instant::now()).is_some());
    }
}
