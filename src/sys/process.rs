//! Processes: fork, process descriptors, signals, exec.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::raw::c_long;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};

/// Which side of a fork we are.
#[derive(Debug)]
pub enum Forked {
    /// The parent, with the child's process id.
    Parent(Pid),
    /// The child.
    Child,
}

/// fork(2) of a process that has one thread, the child being the first process of a process-id namespace: it sees and
/// signals only its own descendants, and they end with it, however they try to survive.
///
/// # Errors
/// EAGAIN at a limit of processes, ENOMEM, EPERM without CAP_SYS_ADMIN.
pub fn fork_confined() -> Result<Forked, Errno> {
    let flags = c_long::from(libc::CLONE_NEWPID | libc::SIGCHLD);
    let none = 0 as c_long;
    // SAFETY: without CLONE_VM and a stack this is fork(2). The programs that call this (the monitor, `lgss`) start no
    // thread before, so the child may do anything, even start one; what the C library keeps of the first thread's id
    // tells owners of locks apart, for which the old one will do, and signals, which no child of ours sends itself.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?))),
    }
}

/// The same, with the child in the cgroup of version 2 whose directory this is (clone3(2), CLONE_INTO_CGROUP): nothing
/// has to be moved.
///
/// # Errors
/// Those of [`fork_confined`]; ENODEV if the cgroup has been removed, ENOSYS of kernels before 5.7.
pub fn fork_confined_in(cgroup: BorrowedFd<'_>) -> Result<Forked, Errno> {
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: a structure of plain numbers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(libc::CLONE_NEWPID.cast_unsigned()) | INTO_CGROUP;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    let size = size_of_val(&arguments);
    // SAFETY: as above; the structure is of the size that is told, and its stack is the parent's.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?))),
    }
}

/// fork(2) of a process that has one thread.
///
/// # Errors
/// EAGAIN at a limit of processes, ENOMEM.
pub fn fork() -> Result<Forked, Errno> {
    let none = 0 as c_long;
    // SAFETY: without CLONE_VM and a stack this is fork(2), of a process that has started no thread.
    match Errno::result(unsafe {
        libc::syscall(libc::SYS_clone, c_long::from(libc::SIGCHLD), none, none, none, none)
    })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?))),
    }
}

/// Has the C library allocate from one heap whatever threads there will be: each further one takes 64 MiB of address
/// space.
pub fn keep_one_heap() {
    // SAFETY: two plain numbers, before there is a second thread.
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

/// A process that can be killed and waited for without mistaking a recycled id for it (pidfd_open(2)).
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// A process that is known to exist now: our child, or our parent.
    ///
    /// # Errors
    /// ESRCH if it has gone.
    pub fn open(pid: Pid) -> Result<Self, Errno> {
        // SAFETY: both arguments are plain numbers.
        let fd = Errno::result(unsafe {
            libc::syscall(libc::SYS_pidfd_open, c_long::from(pid.as_raw()), 0 as c_long)
        })?;
        let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Waits until it has ended, at most `limit`; whether it has.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let mut set = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one structure, and the count says one.
        unsafe { libc::poll(&raw mut set, 1, limit) == 1 }
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// ESRCH if it has been reaped.
    pub fn kill(&self) -> Result<(), Errno> {
        let signal = c_long::from(libc::SIGKILL);
        let fd = c_long::from(self.fd.as_raw_fd());
        // SAFETY: a null siginfo pointer is allowed; the other arguments are plain numbers.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                fd,
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0 as c_long,
            )
        })
        .map(drop)
    }

    /// Its number, for people.
    pub fn id(&self) -> Pid {
        self.pid
    }

    /// Takes note of our child's end, so that nothing of it stays.
    pub fn reap(&self) {
        let _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
    }

    /// How our child ended, if it has.
    pub fn ended(&self) -> Option<WaitStatus> {
        waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).ok().filter(|status| *status != WaitStatus::StillAlive)
    }
}

/// Our parent, which waits for our end and can be ended by us and by our children.
#[derive(Debug)]
pub struct Waiting {
    pid: Pid,
    /// Us.
    child: Pid,
    /// Where the kernel has no descriptor for it, its number has to do.
    opened: Option<Process>,
}

impl Waiting {
    /// For the parent's own child.
    pub fn parent() -> Self {
        let (pid, child) = (getppid(), getpid());
        // It may have ended before, and its number be another's.
        let opened = Process::open(pid).ok().filter(|_| getppid() == pid);
        Self { pid, child, opened }
    }

    /// Sends SIGKILL. By its number only as long as it is our parent.
    pub fn end(&self) {
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

/// Waits until a child has ended, and touches no memory meanwhile.
pub fn wait_for_child() {
    let any = c_long::from(-1);
    loop {
        // SAFETY: null pointers for what is not wanted to be known; the rest are numbers.
        let ended = unsafe {
            libc::syscall(libc::SYS_wait4, any, 0 as c_long, c_long::from(libc::__WALL), 0 as c_long)
        };
        if ended >= 0 || Errno::last() != Errno::EINTR {
            return;
        }
    }
}

/// Reaps children that have ended, and has the kernel reap the others, so that nothing is kept for their sake.
pub fn disown_children() {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: to ignore a signal is no function of ours.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &ignore) };
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {}
}

/// Whether it runs, or would if a processor were free. Allocates nothing.
pub fn is_runnable(pid: Pid) -> bool {
    let mut line = [0; 64];
    state_and_parent(pid, &mut line).starts_with(b"R")
}

/// Whose child it is.
fn parent_of(pid: Pid) -> Option<Pid> {
    if pid == getpid() {
        return Some(getppid());
    }
    let mut line = [0; 64];
    let fields = std::str::from_utf8(state_and_parent(pid, &mut line)).ok()?;
    fields.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

/// Its line (proc_pid_stat(5)) from the third field on; empty if there is none.
fn state_and_parent(pid: Pid, line: &mut [u8; 64]) -> &[u8] {
    let mut name = [0; 32];
    let mut rest = &mut name[..];
    if write!(rest, "/proc/{pid}/stat").is_err() {
        return &[];
    }
    let unused = rest.len();
    let name = name.get(..name.len() - unused).and_then(|name| std::str::from_utf8(name).ok());
    let read = name.and_then(|name| File::open(name).ok()).and_then(|mut file| file.read(line).ok());
    let line = read.and_then(|length| line.get(..length)).unwrap_or_default();
    // The second field is the program's name in parentheses, which may hold anything.
    let end = line.iter().rposition(|&byte| byte == b')');
    end.and_then(|end| line.get(end + 2..)).unwrap_or_default()
}

/// Waits until one of the descriptors is readable or closed, or the deadline has passed; the indexes of those that are.
///
/// # Errors
/// Those of poll(2).
pub fn readable(descriptors: &[BorrowedFd<'_>], deadline: Instant) -> Result<Vec<usize>, Errno> {
    let mut set: Vec<_> = descriptors.iter().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    loop {
        // Rounded up, so that the last millisecond is slept and not polled away.
        let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut set, timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) if left > 0 && Instant::now() < deadline => {}
            Ok(_) => break,
        }
    }
    Ok(set.iter().enumerate().filter(|(_, fd)| fd.any().unwrap_or(false)).map(|(index, _)| index).collect())
}

/// Puts signals, umask and working directory into a known state, whatever was inherited (rule S7).
pub fn reset_inherited() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default action is not a function of ours.
        let _ = unsafe { nix::sys::signal::sigaction(signal, &default) };
    }
    let _ = SigSet::empty().thread_set_mask();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let _ = nix::unistd::chdir(c"/");
}

/// close_range(2): every descriptor from `first` on.
pub fn close_from(first: RawFd) {
    // SAFETY: plain numbers; callers own no Rust handle to a descriptor from `first` on any more, or exec or end next.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Marks every descriptor from `first` on to be closed by exec (close_range(2)).
///
/// # Errors
/// EINVAL or ENOSYS of kernels before 5.11.
pub fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: plain numbers; nothing is closed now.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) }).map(drop)
}

/// The same open file at a descriptor not below `lowest`, closed by exec.
///
/// # Errors
/// Those of fcntl(2).
pub fn raised(fd: OwnedFd, lowest: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: `fd` is open.
    let copy = Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Moves descriptors to 3, 4, … in the order given, without close-on-exec. `program`, which must be above these places
/// for that, stays as it is.
///
/// # Errors
/// EBADF if `program` stands in the way; those of fcntl(2) and dup2(2).
pub fn place_descriptors(descriptors: Vec<OwnedFd>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    const FIRST: RawFd = 3;
    let end = FIRST + RawFd::try_from(descriptors.len()).map_err(|_| Errno::EMFILE)?;
    if program.as_raw_fd() < end {
        return Err(Errno::EBADF);
    }
    // Copies above the places first, so that no place overwrites a source.
    let mut copies = Vec::new();
    for fd in descriptors {
        // SAFETY: `fd` is open; the copy is a new descriptor that nobody else owns.
        copies.push(Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, end) })?);
    }
    for (copy, place) in copies.into_iter().zip(FIRST..) {
        // SAFETY: `copy` is open; whatever was at `place` is not used any more, since the process is about to exec.
        Errno::result(unsafe { libc::dup2(copy, place) })?;
    }
    Ok(())
}

/// execveat(2) of an opened program, with all descriptors from `keep_below` on closed by exec.
///
/// # Errors
/// Always returns one: success does not return.
pub fn exec(program: BorrowedFd<'_>, argv: &[&CStr], environment: &[&CStr], keep_below: RawFd) -> Errno {
    let _ = close_on_exec_from(keep_below);
    match nix::unistd::execveat(program, c"", argv, environment, nix::fcntl::AtFlags::AT_EMPTY_PATH) {
        Err(errno) => errno,
    }
}

#[cfg(test)]
mod tests;
