//! Numbers of messages that are sent: each is given out once, to whichever thread asks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// RPCSEC_GSS sequence numbers stay below it (RFC 2203 §5.3.3.1).
const MAXSEQ: u32 = 0x8000_0000;

/// Numbers of GSS tokens (RFC 4121 §4.2.6): 64 bits, one up for every token of an end.
#[derive(Debug)]
pub(super) struct TokenNumbers(AtomicU64);

impl TokenNumbers {
    pub(super) fn from(first: u64) -> Self {
        Self(AtomicU64::new(first))
    }

    /// The next number; `None` once `u64::MAX`, which is never given out, has been reached.
    pub(super) fn take(&self) -> Option<u64> {
        let next = |number: u64| number.checked_add(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
    }
}

/// Sequence numbers of RPCSEC_GSS calls: from 1, below MAXSEQ. The server drops without a word a number that lies its window
/// or more below the highest (RFC 2203 §5.3.3.1), so the numbers under way are kept close together.
#[derive(Debug)]
pub(super) struct CallNumbers {
    state: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Debug)]
struct Calls {
    next: u32,
    under_way: BTreeSet<u32>,
}

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoNumber {
    UsedUp,
    NotInTime,
}

impl CallNumbers {
    pub(super) fn from(first: u32) -> Self {
        let state = Mutex::new(Calls { next: first, under_way: BTreeSet::new() });
        Self { state, changed: Condvar::new() }
    }

    /// The next number, as soon as the window allows; [`CallNumbers::give_back`] it when the call has ended.
    pub(super) fn take(&self, window: u32, deadline: Instant) -> Result<u32, NoNumber> {
        let mut calls = self.lock();
        loop {
            let number = calls.next;
            if number >= MAXSEQ {
                return Err(NoNumber::UsedUp);
            }
            if calls.under_way.first().is_none_or(|oldest| number - oldest < window) {
                calls.next = number + 1;
                calls.under_way.insert(number);
                return Ok(number);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoNumber::NotInTime);
            }
            calls = self.changed.wait_timeout(calls, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn give_back(&self, number: u32) {
        self.lock().under_way.remove(&number);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn numbers_end_before_they_begin_again() {
        let numbers = TokenNumbers::from(u64::MAX - 2);
        assert_eq!([(); 4].map(|()| numbers.take()), [Some(u64::MAX - 2), Some(u64::MAX - 1), None, None]);
        let calls = CallNumbers::from(MAXSEQ - 1);
        let taken = [(); 3].map(|()| calls.take(32, Instant::now()));
        assert_eq!(taken, [Ok(MAXSEQ - 1), Err(NoNumber::UsedUp), Err(NoNumber::UsedUp)]);
    }

    /// However long the oldest call takes, and whatever comes back before it.
    #[test]
    fn no_number_lies_a_window_above_one_that_is_under_way() {
        let calls = CallNumbers::from(1);
        let take = || calls.take(4, Instant::now());
        assert_eq!([(); 5].map(|()| take()), [Ok(1), Ok(2), Ok(3), Ok(4), Err(NoNumber::NotInTime)]);
        [2, 3, 4].into_iter().for_each(|number| calls.give_back(number));
        assert_eq!(take(), Err(NoNumber::NotInTime));
        calls.give_back(1);
        assert_eq!(take(), Ok(5));
        // Who waits is woken.
        let waits = || calls.take(1, Instant::now() + Duration::from_secs(60));
        let number = std::thread::scope(|scope| {
            let waiting = scope.spawn(waits);
            calls.give_back(5);
            waiting.join().unwrap()
        });
        assert_eq!(number, Ok(6));
    }

    #[test]
    fn threads_get_no_number_twice() {
        let numbers = TokenNumbers::from(0);
        let taken: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| (0..500).filter_map(|_| numbers.take()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((taken.len(), taken.iter().collect::<HashSet<_>>().len()), (8000, 8000));
    }
}
