//! Giving up rights for good: namespaces entered, limits, ids, capabilities, no_new_privs (rule S13).
//!
//! The order is the caller's; each function leaves things as they were if it fails, and the caller then ends.

use std::os::fd::BorrowedFd;

use capctl::caps::{CapState, ambient, bounding};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

/// Enters a network namespace; needs root, so it comes before the drop.
///
/// # Errors
/// Those of setns(2).
pub fn enter_network(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    setns(namespace, CloneFlags::CLONE_NEWNET)
}

/// What a negotiating process may use. Not the number of processes: that is counted over all of a user's.
///
/// # Errors
/// Those of setrlimit(2).
pub fn limit_resources() -> Result<(), Errno> {
    const MIB: u64 = 1024 * 1024;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Two descriptors for each of a user's caches, while they are put in order for the worker, and some to work with.
    setrlimit(Resource::RLIMIT_NOFILE, 1024, 1024)?;
    setrlimit(Resource::RLIMIT_CPU, 60, 60)?;
    setrlimit(Resource::RLIMIT_AS, 1024 * MIB, 1024 * MIB)?;
    setrlimit(Resource::RLIMIT_FSIZE, 64 * MIB, 64 * MIB)?;
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0)
}

/// Lets this process have so many descriptors, if more of them are allowed to it than it uses.
///
/// # Errors
/// Those of setrlimit(2).
pub fn allow_descriptors(count: u64) -> Result<(), Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < count { setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard) } else { Ok(()) }
}

/// No core file from this process, whatever limits were inherited (rule S10).
///
/// # Errors
/// Those of setrlimit(2) and prctl(2).
pub fn leave_no_core() -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    set_undumpable()
}

/// PR_SET_DUMPABLE 0: no core, no ptrace by the same user, /proc entries owned by root. Every change of ids resets it.
///
/// # Errors
/// Those of prctl(2).
pub fn set_undumpable() -> Result<(), Errno> {
    capctl::prctl::set_dumpable(false).map_err(|e| Errno::from_raw(e.code()))
}

/// Asks for SIGKILL when the parent ends. An id change and the exec of certain files take that back. From inside a
/// process-id namespace the parent cannot be seen, so whoever can checks afterwards that it still lives.
///
/// # Errors
/// Those of prctl(2).
pub fn die_with_parent() -> Result<(), Errno> {
    // SAFETY: the arguments are plain numbers.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, Signal::SIGKILL as libc::c_ulong) }).map(drop)
}

/// How willingly the kernel ends a process when memory is short (proc_pid_oom_score_adj(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomScore {
    /// Not at all.
    Never,
    /// As any other.
    Normal,
}

/// Sets it for this process and the children that it will have. Failure is of no consequence here.
pub fn set_oom_score(score: OomScore) {
    let text = match score {
        OomScore::Never => "-1000",
        OomScore::Normal => "0",
    };
    let _ = std::fs::write("/proc/self/oom_score_adj", text);
}

/// Becomes `uid` and `gid` for good: all four ids of each kind, no supplementary groups, undumpable, no capability in
/// any set, no way back by exec. Verified, also by trying to become root again.
///
/// # Errors
/// EPERM where the rights for it were missing or something was left over; others of the kernel's.
pub fn drop_to(uid: Uid, gid: Gid) -> Result<(), Errno> {
    let code = |e: capctl::Error| Errno::from_raw(e.code());
    if uid.is_root() {
        return Err(Errno::EPERM);
    }
    setgroups(&[])?;
    ambient::clear().map_err(code)?;
    bounding::clear().map_err(code)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // At once: from here on the process is the user's, and the change of ids has reset it.
    set_undumpable()?;
    CapState::empty().set_current().map_err(code)?;
    capctl::prctl::set_no_new_privs().map_err(code)?;
    verify_dropped(uid, gid)
}

fn verify_dropped(uid: Uid, gid: Gid) -> Result<(), Errno> {
    let (uids, gids) = (getresuid()?, getresgid()?);
    let ids_ok = [uids.real, uids.effective, uids.saved].iter().all(|&id| id == uid)
        && [gids.real, gids.effective, gids.saved].iter().all(|&id| id == gid);
    let root = Uid::from_raw(0);
    let regained = setresuid(root, root, root).is_ok() || setgroups(&[Gid::from_raw(0)]).is_ok();
    let capabilities = CapState::get_current().map_err(|e| Errno::from_raw(e.code()))?;
    let none_left = capabilities == CapState::empty() && bounding::probe().is_empty();
    if ids_ok && !regained && none_left { Ok(()) } else { Err(Errno::EPERM) }
}
