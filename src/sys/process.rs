//! Processes: descriptors, states, signals. fork.rs and exec.rs start them.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::raw::c_long;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};

use super::bare;

/// Has the C library use one heap however many threads there are. Each further heap takes 64 MiB of address space.
#[cfg(feature = "gss")]
pub(crate) fn keep_one_heap() {
    // SAFETY: two plain numbers; the library takes its own lock.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Ends the process at once, without destructors or flushing.
pub fn end(status: i32) -> ! {
    // SAFETY: _exit has no precondition and does not return.
    unsafe { libc::_exit(status) }
}

/// A process that can be killed and waited for without mistaking a reused id for it (pidfd_open(2)).
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// Opens a child of ours that has not been reaped. If that is impossible, kills it, since nobody could end it later; it
    /// may stay a zombie until this process ends.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub(crate) fn of_child(child: Pid) -> Result<Self, Errno> {
        Self::open(child).inspect_err(|_| {
            // Its number cannot be another's until it is reaped.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, Some(WaitPidFlag::WNOHANG));
        })
    }

    /// Opens a process by its number, which may be another's by now unless it is our child or our parent.
    ///
    /// # Errors
    /// ESRCH if it has gone.
    pub(crate) fn open(pid: Pid) -> Result<Self, Errno> {
        // SAFETY: both arguments are plain numbers.
        let fd = Errno::result(unsafe {
            libc::syscall(libc::SYS_pidfd_open, c_long::from(pid.as_raw()), 0 as c_long)
        })?;
        let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Opens the process that has connected a local stream, `pid` by SO_PEERCRED. Before Linux 6.5, which has SO_PEERPIDFD,
    /// the number may be another's already if that process has ended.
    ///
    /// # Errors
    /// ESRCH if it has gone; EMFILE, ENFILE.
    pub(crate) fn of_peer(socket: BorrowedFd<'_>, pid: i32) -> Result<Self, Errno> {
        let pid = Pid::from_raw(pid);
        match getsockopt(&socket, sockopt::PeerPidfd) {
            Ok(fd) => Ok(Self { pid, fd }),
            Err(Errno::ENOPROTOOPT) => Self::open(pid),
            // Kernels before 6.16 say so if the process has been reaped.
            Err(Errno::EINVAL | Errno::ENODATA) => Err(Errno::ESRCH),
            Err(errno) => Err(errno),
        }
    }

    /// Waits at most `limit` for its end. Returns whether it has ended.
    pub(crate) fn wait_for_end(&self, limit: Duration) -> bool {
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        nix::poll::poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], limit) == Ok(1)
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// ESRCH if it has been reaped.
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        self.kill_with(0)
    }

    /// Sends SIGKILL to its process group (PIDFD_SIGNAL_PROCESS_GROUP), on kernels from 6.9 on.
    #[cfg(test)]
    pub(crate) fn kill_group(&self) -> Result<(), Errno> {
        self.kill_with(4)
    }

    fn kill_with(&self, flags: c_long) -> Result<(), Errno> {
        let signal = c_long::from(libc::SIGKILL);
        let fd = c_long::from(self.fd.as_raw_fd());
        // SAFETY: a null siginfo pointer is allowed; the other arguments are plain numbers.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), flags)
        })
        .map(drop)
    }

    /// Its number, for people.
    pub(crate) fn id(&self) -> Pid {
        self.pid
    }

    /// Reaps our child if it has ended.
    pub(crate) fn reap(&self) {
        let _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
    }

    /// How our child ended, if it has.
    pub(crate) fn ended(&self) -> Option<WaitStatus> {
        waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).ok().filter(|status| *status != WaitStatus::StillAlive)
    }
}

/// Our parent, which waits for our end. We and our children can end it.
#[derive(Debug)]
pub(crate) struct WaitingParent {
    pid: Pid,
    /// This process.
    child: Pid,
    /// `None` if the kernel gives no descriptor: then its number has to do.
    opened: Option<Process>,
}

impl WaitingParent {
    /// This process's parent.
    pub(crate) fn parent() -> Self {
        Self::numbered(getppid())
    }

    /// The process that was this one's parent when it started. If it has ended, so that its number may be another's, nothing
    /// is done to it.
    pub(super) fn numbered(pid: Pid) -> Self {
        let opened = Process::open(pid).ok().filter(|_| getppid() == pid);
        Self { pid, child: getpid(), opened }
    }

    /// Sends SIGKILL, by its number only as long as it is our parent.
    pub(crate) fn end(&self) {
        let ended = self.opened.as_ref().is_some_and(|parent| parent.kill().is_ok());
        if !ended && parent_of(self.child) == Some(self.pid) {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

impl AsFd for Process {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reaps children that have ended, and leaves it to the kernel to reap the others.
pub(crate) fn disown_children() {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring a signal installs no function of ours.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &ignore) };
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {}
}

/// Whether the process runs, or would run if a processor were free. Allocates nothing and leaves errno alone
/// where bare.rs does.
pub(crate) fn is_runnable(pid: Pid) -> bool {
    let mut line = [0; 64];
    state_and_parent(pid, &mut line).starts_with(b"R")
}

/// The parent of a process.
fn parent_of(pid: Pid) -> Option<Pid> {
    if pid == getpid() {
        return Some(getppid());
    }
    let mut line = [0; 64];
    let fields = std::str::from_utf8(state_and_parent(pid, &mut line)).ok()?;
    fields.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

/// The process's status line (proc_pid_stat(5)) from the third field on, or nothing.
fn state_and_parent(pid: Pid, line: &mut [u8; 64]) -> &[u8] {
    let mut name = [0; 32];
    if write!(&mut name[..], "/proc/{pid}/stat\0").is_err() {
        return &[];
    }
    let line = CStr::from_bytes_until_nul(&name).map_or(&[][..], |name| bare::read_start(name, line));
    // The second field is the program's name in parentheses, which may hold anything.
    let end = line.iter().rposition(|&byte| byte == b')');
    end.and_then(|end| line.get(end + 2..)).unwrap_or_default()
}

/// Waits for events until the deadline. An event happens when its descriptor becomes readable or closed. Returns those that
/// have happened.
///
/// # Errors
/// Those of poll(2).
pub(crate) fn readable<E: Copy>(events: &[(E, BorrowedFd<'_>)], deadline: Instant) -> Result<Vec<E>, Errno> {
    let set = events.iter().map(|&(event, fd)| (event, PollFd::new(fd, PollFlags::POLLIN)));
    happened(set.collect(), deadline)
}

/// The same for descriptors of which each waits for what it says, which may be nothing: then only for being closed.
///
/// # Errors
/// Those of poll(2).
pub(crate) fn happened<E>(events: Vec<(E, PollFd<'_>)>, deadline: Instant) -> Result<Vec<E>, Errno> {
    let (events, mut set): (Vec<E>, Vec<PollFd<'_>>) = events.into_iter().unzip();
    wait_until_ready(&mut set, deadline)?;
    let happened = events.into_iter().zip(&set).filter(|(_, fd)| fd.any().unwrap_or(false));
    Ok(happened.map(|(event, _)| event).collect())
}

/// Waits until the descriptor takes bytes or is closed, or the deadline. Returns whether it is so.
///
/// # Errors
/// Those of poll(2).
pub(crate) fn writable(fd: BorrowedFd<'_>, deadline: Instant) -> Result<bool, Errno> {
    wait_until_ready(&mut [PollFd::new(fd, PollFlags::POLLOUT)], deadline)
}

/// Waits until one of the descriptors is ready, or the deadline. Returns whether one is.
///
/// # Errors
/// Those of poll(2).
pub(super) fn wait_until_ready(set: &mut [PollFd<'_>], deadline: Instant) -> Result<bool, Errno> {
    loop {
        // Rounded up, so that the last millisecond is not spent in a busy loop.
        let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(set, timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) if left > 0 && Instant::now() < deadline => {}
            Ok(ready) => return Ok(ready > 0),
        }
    }
}

/// Ignores what a terminal sends to the processes before it, and a limit of files' size, of which a write then says; those who execute a
/// program reset that.
pub(crate) fn ignore_terminal() {
    use Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGXFSZ};
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGXFSZ] {
        let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: no function of ours.
        let _ = unsafe { nix::sys::signal::sigaction(signal, &action) };
    }
}

/// Stops the interval timers that came with this process (setitimer(2)): they survive exec.
pub(crate) fn clear_timers() {
    // SAFETY: a structure of plain numbers, for which zeros mean that the timer is off.
    let off: libc::itimerval = unsafe { std::mem::zeroed() };
    for timer in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        // SAFETY: the structure is there, and the old value is not wanted.
        unsafe { libc::setitimer(timer, &raw const off, std::ptr::null_mut()) };
    }
}

/// Takes the timer slack that processes have (prctl(2)), for this one and those that it starts. A greater one, which survives exec, would
/// make every wait as long as its starter likes.
pub(crate) fn take_usual_slack() {
    const NANOSECONDS: u64 = 50_000;
    let _ = nix::sys::prctl::set_timerslack(NANOSECONDS);
}

/// Resets inherited signals, umask and working directory to a known state (rule S7). SIGPIPE is ignored: whoever writes to a
/// process that has ended gets EPIPE.
pub(crate) fn reset_inherited() {
    reset_inherited_but(&SigSet::empty());
}

/// The same, but these signals stay blocked: those that may have come already would else end the process.
pub(crate) fn reset_inherited_but(blocked: &SigSet) {
    let action = |handler| SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        let handler = if signal == Signal::SIGPIPE { SigHandler::SigIgn } else { SigHandler::SigDfl };
        // SAFETY: neither is a function of ours.
        let _ = unsafe { nix::sys::signal::sigaction(signal, &action(handler)) };
    }
    let _ = blocked.thread_set_mask();
    // nix's wrapper panics at a result that is no mode; this one is not needed.
    // SAFETY: a number.
    unsafe { libc::umask(0o077) };
    let _ = nix::unistd::chdir(c"/");
}

/// Has SIGPIPE end what this process becomes, as programs of others expect.
pub(crate) fn take_default_of_broken_pipes() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default is no function of ours.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &default) };
}

#[cfg(test)]
mod tests;
