//! The lock of operators' runs (rules S14, S18): one at a time on this machine, and after a failure none for a while, so that nobody
//! finds out names by trying.
//!
//! A process of its own keeps the lock. Whoever ends the run's process early thereby fails, and the lock stays for as long.
//! Invariant: a failure is answered a whole multiple of the delay after the lock was taken, whatever it was.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, setresuid, setsid};

use crate::sys::errno::errno_of;
use crate::sys::exec::close_all_but;
use crate::sys::fork::{ForkResult, fork};
use crate::sys::locks::LockFile;
use crate::sys::process::{self, Process, end, readable};

/// The file, below the run directory.
const LOCK_NAME: &str = "hooks.lock";
/// Its byte.
const LOCK_BYTE: std::ops::Range<u16> = 0..1;
/// Pause between two tries.
const LOCK_LOOK: Duration = Duration::from_millis(10);

/// Times of the lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct LockTimes {
    /// Until when it is waited for.
    pub(super) wait_until: Instant,
    /// Longest run; after it the run counts as failed, even if its process is stopped.
    pub(super) run: Duration,
    /// How long a failure keeps the lock.
    pub(super) delay: Duration,
}

/// The lock, for one run.
#[derive(Debug)]
pub(super) struct HookLock {
    keeper: Process,
    /// Closed without a word, it means a failure.
    result: PipeWriter,
    times: LockTimes,
}

impl HookLock {
    /// Takes the lock. `None` if others hold it for too long.
    ///
    /// # Errors
    /// Those of the lock file and of starting the keeper.
    pub(super) fn take(directory: BorrowedFd<'_>, times: LockTimes) -> Result<Option<Self>, Errno> {
        let lock = LockFile::open(directory, LOCK_NAME)?;
        while !lock.try_take(&LOCK_BYTE)? {
            if Instant::now() >= times.wait_until {
                return Ok(None);
            }
            sleep(LOCK_LOOK);
        }
        let taken = Instant::now();
        let (reader, result) = std::io::pipe().map_err(|error| errno_of(&error))?;
        match fork()? {
            ForkResult::Child => {
                drop(result);
                end(i32::from(keep(&lock, &reader, taken, times).is_err()))
            }
            // Dropping the file leaves the lock with the keeper.
            ForkResult::Parent { child } => {
                Ok(Some(Self { keeper: Process::of_child(child)?, result, times }))
            }
        }
    }

    /// Gives the lock back after a success.
    pub(super) fn succeeded(mut self) {
        let _ = self.result.write_all(&[1]);
        self.wait();
    }

    /// Waits until the lock is free again after a failure.
    pub(super) fn failed(self) {
        let Self { keeper, result, times } = self;
        drop(result);
        keeper.wait_for_end(times.run + times.delay * 2);
        keeper.reap();
    }

    fn wait(&self) {
        self.keeper.wait_for_end(self.times.delay);
        self.keeper.reap();
    }
}

/// In the keeper, which its caller's user cannot signal and whose streams nobody waits for.
fn keep(lock: &LockFile, result: &PipeReader, taken: Instant, times: LockTimes) -> Result<(), Errno> {
    let root = Uid::from_raw(0);
    setresuid(root, root, root)?;
    process::reset_inherited();
    let _ = setsid();
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|error| errno_of(&error))?;
    dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null))?;
    close_all_but(&[lock.file().as_fd(), result.as_fd()])?;
    std::mem::forget(null);
    // Its end has no word.
    let mut word = [0];
    let told = readable(&[((), result.as_fd())], taken + times.run)?;
    let succeeded = !told.is_empty() && nix::unistd::read(result, &mut word) == Ok(1);
    if !succeeded {
        sleep(until_whole(taken.elapsed(), times.delay));
    }
    Ok(())
}

/// The time from `passed` to the next whole multiple of the delay.
fn until_whole(passed: Duration, delay: Duration) -> Duration {
    let (passed, delay) = (passed.as_nanos(), delay.as_nanos().max(1));
    let left = delay - passed % delay;
    Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_answered_at_whole_multiples_of_the_delay() {
        let time = Duration::from_millis;
        for (passed, left) in [(0, 3000), (1, 2999), (2999, 1), (3000, 3000), (7500, 1500)] {
            assert_eq!(until_whole(time(passed), time(3000)), time(left), "{passed}");
        }
    }
}
