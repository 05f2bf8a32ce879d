//! Searches /proc/keys, the list of all keys of the machine, within bounds on the requester's wait (rule S21).
//!
//! To find one line, the kernel takes up to a microsecond for each key of the machine, whoever owns it, and one read(2)
//! may pass over any number of keys that are not shown. So the keys are counted first, by /proc/key-users, which has
//! one line for each user; and the processor time is checked after each page.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};

use super::error::RequesterError;
use crate::key::auth_line::{Expected, Finder};
use crate::sys::proc;

/// One page, the most that the kernel returns at a time.
const KEYS_PIECE: usize = 4096;
/// Longest line of /proc/key-users.
const USER_LINE_LIMIT: usize = 256;

/// Bounds of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Most keys on the whole machine.
    pub keys: u64,
    /// Most processor time.
    pub time: Duration,
}

impl Bound {
    /// For a program's request: a fifth of a second on a slow machine.
    pub(crate) const OF_A_PROGRAM: Self = Self { keys: 100_000, time: Duration::from_millis(150) };
    /// For a request of the kernel's, without which a whole machine loses its file system.
    pub(crate) const OF_THE_KERNEL: Self = Self { keys: 1_000_000, time: Duration::from_secs(1) };
}

/// Finds the thread id of the requester of the key under construction.
///
/// # Errors
/// [`RequesterError`]; all of them mean refusal.
pub(super) fn find(expected: Expected, bound: Bound) -> Result<i32, RequesterError> {
    let end = cpu_time()? + bound.time;
    let mut counter = Counter::default();
    read("/proc/key-users", end, bound, |piece| counter.feed(piece))?;
    if counter.keys > bound.keys {
        return Err(RequesterError::TooManyKeys(counter.keys, bound.keys));
    }
    let mut finder = Finder::new(expected);
    read("/proc/keys", end, bound, |piece| finder.feed(piece))?;
    Ok(finder.finish()?)
}

/// The number of keys on the machine, as far as the kernel shows them.
#[cfg(feature = "tools")]
pub(crate) fn count() -> Option<u64> {
    let mut counter = Counter::default();
    counter.feed(&std::fs::read("/proc/key-users").ok()?);
    Some(counter.keys)
}

fn read(
    path: &'static str,
    end: Duration,
    bound: Bound,
    mut take: impl FnMut(&[u8]),
) -> Result<(), RequesterError> {
    let failed = |errno| RequesterError::Proc(path.trim_start_matches("/proc/"), errno);
    let file = proc::open_file(path).map_err(failed)?;
    let mut piece = [0; KEYS_PIECE];
    loop {
        match nix::unistd::read(file.as_fd(), &mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => take(piece.get(..n).unwrap_or_default()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        if cpu_time()? > end {
            return Err(RequesterError::TooSlow(bound.time));
        }
    }
}

/// Processor time of this thread.
fn cpu_time() -> Result<Duration, RequesterError> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .map_err(|errno| RequesterError::Proc("clock", errno))
}

/// Adds up the second number of each line, `uid: usage keys/instantiated …`.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) keys: u64,
    line: Vec<u8>,
}

impl Counter {
    pub(super) fn feed(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            let room = USER_LINE_LIMIT.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                let of_user = std::str::from_utf8(&self.line).ok().and_then(keys_of_line).unwrap_or(0);
                self.keys = self.keys.saturating_add(of_user);
                self.line.clear();
            }
        }
    }
}

fn keys_of_line(line: &str) -> Option<u64> {
    line.split_once(':')?.1.split_ascii_whitespace().nth(1)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_all_users_are_added_up_however_the_text_is_cut() {
        let text = b"    0:    94 93/90 90/1000000 1927/25000000\n 4711:     3 200/3 3/200 34/20000\nodd\n";
        for length in 1..text.len() {
            let mut counter = Counter::default();
            text.chunks(length).for_each(|piece| counter.feed(piece));
            assert_eq!(counter.keys, 293, "in pieces of {length}");
        }
    }

    #[test]
    fn more_keys_than_the_bound_or_longer_than_that_is_an_error_that_says_so() {
        let key = crate::key::KeySerial::new(1).unwrap();
        let expected = Expected { auth_key: key, key, uid: 0, gid: 0, callout_length: 0 };
        let found = |bound| find(expected, bound).unwrap_err();
        let enough = Duration::from_secs(5);
        assert!(matches!(found(Bound { keys: 0, time: enough }), RequesterError::TooManyKeys(1.., 0)));
        assert!(matches!(
            found(Bound { keys: u64::MAX, time: Duration::ZERO }),
            RequesterError::TooSlow(Duration::ZERO)
        ));
        assert!(matches!(found(Bound { keys: u64::MAX, time: enough }), RequesterError::AuthLine(_)));
    }
}
