//! The most memory that a process ever had, read at its very end.

use crate::support::wait::stretched;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// Living processes, followed from now on by this thread, the only one that may ask for their peak. Each stops at its end
/// with its memory still there, so that none ends unread, however fast. One that has just ended is left out.
pub(crate) struct Followed(Vec<Pid>);

impl Followed {
    pub(crate) fn new(pids: impl IntoIterator<Item = Pid>) -> Self {
        let is_followed = |&pid: &Pid| match ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT) {
            Err(Errno::ESRCH) => false,
            // A zombie's answer is this one.
            Err(Errno::EPERM) if is_zombie(pid) => false,
            other => other.map(|()| true).expect("root may follow it"),
        };
        Self(pids.into_iter().filter(is_followed).collect())
    }

    /// KiB of the process that had most, once all have ended.
    #[track_caller]
    pub(crate) fn peak(self, limit: Duration) -> u64 {
        let start = Instant::now();
        let mut most = None;
        let mut living = self.0;
        while !living.is_empty() {
            assert!(start.elapsed() < stretched(limit), "{living:?} go on");
            living.retain(|&pid| goes_on(pid, &mut most));
            std::thread::sleep(Duration::from_millis(1));
        }
        most.expect("a process that was followed to its end")
    }
}

/// One step of a followed process, if it has stopped: its signal is passed on, its peak noted.
fn goes_on(pid: Pid, most: &mut Option<u64>) -> bool {
    let resumed = match waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
        Ok(WaitStatus::StillAlive) => return true,
        Ok(WaitStatus::Stopped(_, signal)) => ptrace::cont(pid, signal),
        Ok(WaitStatus::PtraceEvent(..)) => {
            *most = (*most).max(peak_memory(pid));
            ptrace::cont(pid, None)
        }
        _ => return false,
    };
    resumed.is_ok()
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

/// KiB.
fn peak_memory(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok()
}
