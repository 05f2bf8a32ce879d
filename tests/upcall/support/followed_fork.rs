//! A process whose next child is stopped between its fork and its exec.

use super::wait::{stretched, wait_for};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A process that is followed by this thread, the only one that may ask for what it does.
pub(crate) struct Fork(Pid);

impl Fork {
    /// Follows a process from now on.
    #[track_caller]
    pub(crate) fn followed(process: Pid) -> Self {
        let options =
            Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEVFORK;
        ptrace::seize(process, options).expect("root may follow it");
        Self(process)
    }

    /// Waits for its next child, and stops that when so many of its system calls have begun or ended; nobody is followed any more.
    /// None if the child has executed a program by then.
    #[track_caller]
    pub(crate) fn child_stopped_after(self, stops: usize) -> Option<Pid> {
        let child = loop {
            match next(self.0) {
                WaitStatus::PtraceEvent(..) => {
                    break Pid::from_raw(i32::try_from(ptrace::getevent(self.0).unwrap()).unwrap());
                }
                WaitStatus::Stopped(_, signal) => ptrace::cont(self.0, signal).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        ptrace::detach(self.0, None).unwrap();
        assert!(matches!(next(child), WaitStatus::PtraceEvent(..)), "a child begins with a stop");
        ptrace::setoptions(child, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC).unwrap();
        for _ in 0..stops {
            ptrace::syscall(child, None).unwrap();
            match next(child) {
                WaitStatus::PtraceSyscall(_) => {}
                WaitStatus::PtraceEvent(..) => {
                    ptrace::detach(child, None).unwrap();
                    return None;
                }
                other => panic!("{other:?}"),
            }
        }
        // It is the first thing that it sees.
        kill(child, Signal::SIGSTOP).unwrap();
        ptrace::detach(child, None).unwrap();
        wait_for("the stop", LIMIT, || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')).then_some(())
        });
        Some(child)
    }
}

#[track_caller]
fn next(process: Pid) -> WaitStatus {
    let start = Instant::now();
    loop {
        match waitpid(process, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            other => return other.unwrap(),
        }
        assert!(start.elapsed() < stretched(LIMIT), "{process} does nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}
