//! A process that sleeps and then acts. It keeps a time limit even while its maker is blocked, say by a file system
//! that does not answer.
//!
//! Started by the monitor for a held key. Invariant: a clock does not outlive its maker.

use std::thread;
use std::time::Duration;

use nix::sys::wait::WaitStatus;
use nix::unistd::{getpid, getppid};

use crate::sys::fork::{self, ForkResult};
use crate::sys::jail;
use crate::sys::process::{self, Process};

/// Time limit for the end of a killed clock.
const CLOCK_END: Duration = Duration::from_secs(1);

/// A running clock.
#[derive(Debug)]
pub(super) struct Clock(Process);

impl Clock {
    /// Starts a process that calls `act` after `limit`, unless the caller stops the clock, or ends, before that. `act`
    /// returns whether it succeeded. `None` if no process can be started.
    pub(super) fn start(limit: Duration, act: impl FnOnce() -> bool) -> Option<Self> {
        let maker = getpid();
        match fork::fork() {
            Ok(ForkResult::Child) => {
                let _ = jail::die_with_parent();
                if getppid() != maker {
                    process::end(1);
                }
                // To answer its key, and to end the front, which is root's, too, needs no capability. Undumpable first, since any
                // process of root's could trace it afterwards.
                if jail::leave_no_core().and_then(|()| jail::keep_no_capability()).is_err() {
                    process::end(1);
                }
                thread::sleep(limit);
                process::end(i32::from(!act()))
            }
            Ok(ForkResult::Parent { child }) => Process::of_child(child).ok().map(Self),
            Err(_) => None,
        }
    }

    /// For tests of those who use it.
    #[cfg(test)]
    pub(super) fn wait_until_it_has_acted(&self) {
        assert!(self.0.wait_for_end(Duration::from_secs(60)));
    }

    /// Stops the clock. Returns whether it has acted with success.
    pub(super) fn stop(self) -> bool {
        let _ = self.0.kill();
        self.0.wait_for_end(CLOCK_END) && matches!(self.0.ended(), Some(WaitStatus::Exited(_, 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{pipe, write};
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    const NEVER: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(20);

    /// A clock whose act is to write a byte to a pipe.
    fn clock(limit: Duration, outcome: fn() -> bool) -> (Clock, File) {
        let (reader, writer): (OwnedFd, OwnedFd) = pipe().unwrap();
        let clock = Clock::start(limit, || write(&writer, b"x").is_ok() && outcome()).unwrap();
        (clock, reader.into())
    }

    fn acted(reader: &mut File) -> bool {
        reader.read(&mut [0; 8]).unwrap() == 1
    }

    #[test]
    fn a_clock_acts_when_its_time_is_over_and_that_is_known() {
        for (outcome, known) in [((|| true) as fn() -> bool, true), (|| false, false)] {
            let (clock, mut reader) = clock(SOON, outcome);
            assert!(acted(&mut reader));
            assert!(clock.0.wait_for_end(Duration::from_secs(10)));
            assert_eq!(clock.stop(), known);
        }
    }

    #[test]
    fn a_clock_that_is_stopped_does_nothing() {
        let (clock, mut reader) = clock(NEVER, || true);
        assert!(!clock.stop());
        assert!(!acted(&mut reader), "its end of the pipe is closed");
    }

    #[test]
    fn a_clock_does_not_outlive_its_maker() {
        // The maker is a thread of ours: the thread that made the process counts (prctl(2), PR_SET_PDEATHSIG).
        let make = || {
            let (clock, reader) = clock(NEVER, || true);
            // Its only sleep begins after it has been bound to us.
            let mut asleep = 0;
            while asleep < 5 {
                asleep = if process::is_runnable(clock.0.id()) { 0 } else { asleep + 1 };
                thread::sleep(SOON);
            }
            (clock, reader)
        };
        let (clock, mut reader) = thread::spawn(make).join().unwrap();
        assert!(clock.0.wait_for_end(Duration::from_secs(10)));
        assert!(!acted(&mut reader) && !clock.stop());
    }
}
