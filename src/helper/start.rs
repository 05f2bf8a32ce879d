//! What this program does to itself before it believes anything, and how it takes its rights.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};
use nix::sys::stat::fstat;
use nix::unistd::{Gid, Uid, alarm, dup2_stderr, setgroups, setresgid, setresuid};

use super::caller::Caller;
use crate::sys::files::{private_directory, subdirectory};
use crate::sys::locks::LockFile;
use crate::sys::{exec, jail, keyctl, process};

/// Why there is nobody to serve.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NobodyCalls {
    /// Somebody started it by hand.
    ByHand,
    /// The kernel refuses what every process may do.
    Failed,
}

/// How long the caller's part may take at all; deadlines of its own come before.
const BACKSTOP: u32 = 40;

/// Makes of what the caller has left to this process something known (rule S7): descriptors, signals, timers, limits, directory.
/// The environment stays where it is, and nothing reads it.
pub(super) fn prepare() -> Result<Caller, NobodyCalls> {
    let caller = Caller::of_process().map_err(|_| NobodyCalls::Failed)?;
    if !is_one_socket(io::stdin().as_fd(), io::stdout().as_fd()) {
        return Err(NobodyCalls::ByHand);
    }
    settle().map_err(|_| NobodyCalls::Failed)?;
    Ok(caller)
}

fn settle() -> Result<(), Errno> {
    exec::close_all_but(&[])?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|_| Errno::ENOENT)?;
    dup2_stderr(&null)?;
    drop(null);
    process::clear_timers();
    process::take_usual_slack();
    process::reset_inherited();
    alarm::set(BACKSTOP);
    jail::restore_limits();
    jail::leave_no_core()
}

/// Whether both are the same local stream socket.
fn is_one_socket(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> bool {
    let identity = |fd: BorrowedFd<'_>| fstat(fd).ok().map(|status| (status.st_dev, status.st_ino));
    let is_stream = getsockopt(&input, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    let is_local = getsockname::<SockaddrStorage>(input.as_raw_fd())
        .is_ok_and(|address| address.family() == Some(AddressFamily::Unix));
    is_stream && is_local && identity(input) == identity(output)
}

/// Becomes root in every sense, for at most `limit`. Until now the process has counted among the
/// caller's, who could stop and end it; from here on they cannot.
///
/// # Errors
/// EPERM if the file has not got the rights that it should have; those of the kernel.
pub(super) fn take_rights(limit: Duration) -> Result<(), Errno> {
    let (root, roots) = (Uid::from_raw(0), Gid::from_raw(0));
    // The caller's terminal, cgroup and score end nothing any more. A leader of a session or group keeps its terminal.
    let _ = nix::unistd::setsid();
    process::ignore_terminal();
    setgroups(&[])?;
    setresgid(roots, roots, roots)?;
    setresuid(root, root, root)?;
    jail::restore_limits();
    jail::leave_no_core()?;
    // The session keyring is the caller's.
    match keyctl::join_anonymous_session() {
        Ok(_) | Err(Errno::ENOSYS) => {}
        Err(errno) => return Err(errno),
    }
    leave_cgroup();
    jail::set_oom_score(jail::OomScore::Normal);
    alarm::set(u32::try_from(limit.as_secs()).unwrap_or(BACKSTOP));
    Ok(())
}

/// Leaves the caller's cgroup, which may be the caller's to freeze or kill (cgroups(7)), for the root of the hierarchy. Where that is
/// not to be had, as in a container or without version 2, the caller keeps that power.
fn leave_cgroup() {
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        // Never makes the file.
        let procs = File::options().write(true).open(Path::new(hierarchy).join("cgroup.procs"));
        let _ = procs.and_then(|mut procs| procs.write_all(b"0"));
    }
}

/// State of lgss, which is root's alone.
const RUN_DIR: &str = "/run/lgss";
/// Most helpers of one user that have rights: these do not count among the user's own processes.
const SLOTS: u16 = 8;

/// Takes one of the user's slots for as long as this process lives. Returns whether one was free.
pub(super) fn take_slot(uid: Uid) -> bool {
    let Ok(run) = private_directory(Path::new(RUN_DIR)) else { return false };
    let Ok(directory) = subdirectory(run.as_fd(), "helper") else { return false };
    let Ok(lock) = LockFile::open(directory.as_fd(), &uid.to_string()) else { return false };
    let taken = lock.try_take_any(0..SLOTS).unwrap_or(false);
    // The kernel gives it back.
    std::mem::forget(lock);
    taken
}
