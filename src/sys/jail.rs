//! Gives up rights for good: namespaces, limits, ids, capabilities, no_new_privs (rule S13).
//!
//! The caller decides the order, and ends if a function fails.

use std::os::fd::BorrowedFd;

use capctl::caps::{Cap, CapState, ambient, bounding};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid, write};

/// Enters a network namespace. Needs root, so it comes before the drop.
///
/// # Errors
/// Those of setns(2).
pub(crate) fn enter_network(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    setns(namespace, CloneFlags::CLONE_NEWNET)
}

/// Default limit of a negotiating process's address space. An ordinary one uses less than half of it.
pub(crate) const MEMORY_MIB: u16 = 192;

/// Two descriptors for each of a user's caches, while they are moved into place for the worker, and some more.
pub(crate) const DESCRIPTORS: u64 = 1024;

/// Limits the resources of a negotiating process, its address space to `memory_mib` MiB. The number of processes is not
/// limited, since the kernel counts all of the user's.
///
/// # Errors
/// Those of setrlimit(2).
pub(crate) fn limit_resources(memory_mib: u16) -> Result<(), Errno> {
    limits(memory_mib).into_iter().try_for_each(|(resource, limit)| setrlimit(resource, limit, limit))
}

/// The same for a process that may not raise a limit: one that is lower already stays.
///
/// # Errors
/// Those of setrlimit(2).
#[cfg(feature = "upcall")]
pub(crate) fn lower_resources(memory_mib: u16) -> Result<(), Errno> {
    limits(memory_mib).into_iter().try_for_each(|(resource, limit)| {
        let (_, hard) = getrlimit(resource)?;
        let limit = limit.min(hard);
        setrlimit(resource, limit, limit)
    })
}

/// Limits the number of processes that this process's next user has, all of them together.
///
/// # Errors
/// Those of setrlimit(2).
pub(crate) fn limit_processes(count: u64) -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_NPROC, count, count)
}

/// Gives a process that has the rights of root the limits of an ordinary one, whatever it came with; in a container, whose root may
/// not raise the hard ones, as far as these go.
pub(crate) fn restore_limits() {
    const MIB: u64 = 1024 * 1024;
    let none = nix::sys::resource::RLIM_INFINITY;
    let limits = [
        (Resource::RLIMIT_AS, 1024 * MIB),
        (Resource::RLIMIT_DATA, none),
        (Resource::RLIMIT_FSIZE, none),
        (Resource::RLIMIT_CPU, 120),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_STACK, 8 * MIB),
    ];
    for (resource, limit) in limits {
        if setrlimit(resource, limit, limit).is_err()
            && let Ok((_, hard)) = getrlimit(resource)
        {
            let limit = limit.min(hard);
            let _ = setrlimit(resource, limit, limit);
        }
    }
}

fn limits(memory_mib: u16) -> [(Resource, u64); 6] {
    const MIB: u64 = 1024 * 1024;
    [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_CPU, 60),
        (Resource::RLIMIT_AS, u64::from(memory_mib) * MIB),
        (Resource::RLIMIT_FSIZE, 64 * MIB),
        (Resource::RLIMIT_MEMLOCK, 0),
    ]
}

/// Raises the soft limit of descriptors to `count`, as far as the hard limit allows.
///
/// # Errors
/// Those of setrlimit(2).
pub(crate) fn allow_descriptors(count: u64) -> Result<(), Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < count { setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard) } else { Ok(()) }
}

/// Prevents a core file of this process, whatever limits it inherited (rule S10).
///
/// # Errors
/// Those of setrlimit(2) and prctl(2).
pub(crate) fn leave_no_core() -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    set_undumpable()
}

/// PR_SET_DUMPABLE 0: no core, no ptrace by the same user, /proc entries owned by root. Every change of ids resets it.
///
/// # Errors
/// Those of prctl(2).
pub(crate) fn set_undumpable() -> Result<(), Errno> {
    capctl::prctl::set_dumpable(false).map_err(|e| Errno::from_raw(e.code()))
}

/// Asks for SIGKILL when the parent ends. An id change and the exec of certain files undo that. Inside a process-id
/// namespace the parent cannot be seen, so somebody outside checks afterwards that it still lives.
///
/// # Errors
/// Those of prctl(2).
pub(crate) fn die_with_parent() -> Result<(), Errno> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
}

/// Whether the kernel kills the process when memory runs out (proc_pid_oom_score_adj(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OomScore {
    /// Never.
    Never,
    /// Like any other.
    Normal,
}

/// Sets the score of this process and its future children. A failure does not matter. Allocates nothing, since an heir calls
/// it while its heap is closed (heir.rs).
pub(crate) fn set_oom_score(score: OomScore) {
    let text = match score {
        OomScore::Never => c"-1000",
        OomScore::Normal => c"0",
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    if let Ok(file) = open(c"/proc/self/oom_score_adj", flags, Mode::empty()) {
        let _ = write(&file, text.to_bytes());
    }
}

/// The number that setresuid(2) and setresgid(2) take for "leave it as it is": no user, and no group.
const NO_CHANGE: u32 = u32::MAX;

/// Becomes `uid` and `gid` for good: all four ids of each kind, no supplementary groups, undumpable, no capability in any
/// set, no way back by exec. Verifies that, also by trying to become root again.
///
/// # Errors
/// EPERM if a right to do it was missing or something was left over; other errors of the kernel.
pub fn drop_to(uid: Uid, gid: Gid) -> Result<(), Errno> {
    let code = |e: capctl::Error| Errno::from_raw(e.code());
    if uid.is_root() || uid.as_raw() == NO_CHANGE || gid.as_raw() == NO_CHANGE {
        return Err(Errno::EPERM);
    }
    setgroups(&[])?;
    ambient::clear().map_err(code)?;
    bounding::clear().map_err(code)?;
    setresgid(gid, gid, gid)?;
    become_undumpable(uid)?;
    CapState::empty().set_current().map_err(code)?;
    capctl::prctl::set_no_new_privs().map_err(code)?;
    verify_dropped(uid, gid)
}

/// Changes ids so that the new user can at no moment trace the process or get a core of it, even if fs.suid_dumpable makes
/// every process that changes its ids dumpable. Until it is undumpable, it has capabilities that the user lacks (ptrace(2),
/// proc(5)), and no signal ends it with a core.
pub(super) fn become_undumpable(uid: Uid) -> Result<(), Errno> {
    let code = |e: capctl::Error| Errno::from_raw(e.code());
    let unblocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let changed = capctl::prctl::set_keepcaps(true)
        .map_err(code)
        .and_then(|()| setresuid(uid, uid, uid))
        // The process is the user's now, and the id change has reset the flag.
        .and_then(|()| set_undumpable())
        .and_then(|()| capctl::prctl::set_keepcaps(false).map_err(code));
    unblocked.thread_set_mask()?;
    changed
}

/// Leaves the process this supplementary group and no other, or none.
///
/// # Errors
/// EPERM without CAP_SETGID, ENOMEM.
pub(crate) fn set_supplementary_group(group: Option<u32>) -> Result<(), Errno> {
    setgroups(group.map(Gid::from_raw).as_slice())
}

/// Gives up all capabilities of a root process for good, except CAP_KILL.
///
/// # Errors
/// EPERM if even the right to give them up was missing; other errors of the kernel.
pub(crate) fn keep_only_kill() -> Result<(), Errno> {
    let mut kept = CapState::empty();
    kept.permitted.add(Cap::KILL);
    kept.effective.add(Cap::KILL);
    keep_capabilities(kept)
}

/// Gives up all capabilities of a root process for good.
///
/// # Errors
/// Those of [`keep_only_kill`].
#[cfg(feature = "upcall")]
pub(crate) fn keep_no_capability() -> Result<(), Errno> {
    keep_capabilities(CapState::empty())
}

/// Gives up for good what rights the process of an ordinary user may have.
///
/// # Errors
/// Those of prctl(2) and capset(2).
pub(crate) fn keep_no_right() -> Result<(), Errno> {
    let code = |e: capctl::Error| Errno::from_raw(e.code());
    ambient::clear().map_err(code)?;
    CapState::empty().set_current().map_err(code)?;
    capctl::prctl::set_no_new_privs().map_err(code)
}

fn keep_capabilities(kept: CapState) -> Result<(), Errno> {
    let code = |e: capctl::Error| Errno::from_raw(e.code());
    ambient::clear().map_err(code)?;
    bounding::clear().map_err(code)?;
    kept.set_current().map_err(code)?;
    capctl::prctl::set_no_new_privs().map_err(code)?;
    let left = CapState::get_current().map_err(code)?;
    if left == kept && bounding::probe().is_empty() { Ok(()) } else { Err(Errno::EPERM) }
}

/// Checks that there is no right left and no way back to root.
///
/// # Errors
/// EPERM if there is; other errors of the kernel.
pub(super) fn verify_dropped(uid: Uid, gid: Gid) -> Result<(), Errno> {
    let (uids, gids) = (getresuid()?, getresgid()?);
    let ids_ok = [uids.real, uids.effective, uids.saved].iter().all(|&id| id == uid)
        && [gids.real, gids.effective, gids.saved].iter().all(|&id| id == gid);
    let root = Uid::from_raw(0);
    let regained = setresuid(root, root, root).is_ok() || setgroups(&[Gid::from_raw(0)]).is_ok();
    let capabilities = CapState::get_current().map_err(|e| Errno::from_raw(e.code()))?;
    let none_left = capabilities == CapState::empty() && bounding::probe().is_empty();
    if ids_ok && !regained && none_left { Ok(()) } else { Err(Errno::EPERM) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork, pause, pipe, read};

    /// A user that nobody else uses.
    const USER: u32 = 4_000_777;

    #[test]
    fn ids_that_mean_no_change_are_refused_before_anything_is_given_up() {
        let (user, no_uid, no_gid) =
            (Uid::from_raw(USER), Uid::from_raw(NO_CHANGE), Gid::from_raw(NO_CHANGE));
        let before = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        for (uid, gid) in [(no_uid, Gid::from_raw(USER)), (user, no_gid), (no_uid, no_gid)] {
            assert_eq!(drop_to(uid, gid), Err(Errno::EPERM), "{uid} {gid}");
        }
        let rights = |status: &str| {
            let lines = status
                .lines()
                .filter(|line| ["Uid", "Gid", "Groups", "Cap"].iter().any(|name| line.starts_with(name)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let after = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(rights(&after), rights(&before));
    }

    /// The errno for a process of the user that attaches to one becoming that user, at the moment when the kernel has made it
    /// dumpable, as it does if fs.suid_dumpable is 1. The test needs root, and does not change that setting.
    fn attached(change: fn() -> Result<(), Errno>) -> i32 {
        let (reader, writer) = pipe().unwrap();
        // SAFETY: the child allocates nothing and ends without destructors.
        let target = match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let changed = change().is_ok() && capctl::prctl::set_dumpable(true).is_ok();
                let _ = write(&writer, &[u8::from(changed)]);
                loop {
                    pause();
                }
            }
            ForkResult::Parent { child } => child,
        };
        let mut changed = [0];
        assert_eq!((read(&reader, &mut changed), changed), (Ok(1), [1]));
        // SAFETY: as above.
        let status = match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let user = Uid::from_raw(USER);
                let outcome = if setresuid(user, user, user).is_ok() {
                    // SAFETY: attaching takes no pointers.
                    let attached = unsafe { libc::ptrace(libc::PTRACE_ATTACH, target.as_raw(), 0, 0) };
                    if attached == 0 { 0 } else { Errno::last_raw() }
                } else {
                    255
                };
                crate::sys::process::end(outcome)
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        };
        nix::sys::signal::kill(target, Signal::SIGKILL).unwrap();
        waitpid(target, None).unwrap();
        let WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
        code
    }

    fn become_the_user() -> Result<(), Errno> {
        let user = Uid::from_raw(USER);
        setresuid(user, user, user)
    }

    #[test]
    fn a_process_that_is_becoming_a_user_cannot_be_traced_by_it_whatever_suid_dumpable_says() {
        assert_eq!(attached(become_the_user), 0, "the test sees what it has to");
        // Capabilities are kept until the process is undumpable.
        assert_eq!(
            attached(|| {
                capctl::prctl::set_keepcaps(true).map_err(|e| Errno::from_raw(e.code()))?;
                become_the_user()
            }),
            libc::EPERM
        );
    }

    #[test]
    fn what_is_left_of_a_monitors_rights_is_to_end_processes_and_of_a_waiting_fronts_nothing() {
        for (keep, kept) in
            [(keep_only_kill as fn() -> Result<(), Errno>, [Cap::KILL].as_slice()), (keep_no_capability, &[])]
        {
            // SAFETY: the child ends without destructors.
            let status = match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    let user = Uid::from_raw(USER);
                    let none =
                        keep().is_ok() && setresuid(user, user, user).is_err() && setgroups(&[]).is_err();
                    let left = CapState::get_current().unwrap();
                    let as_told =
                        left.effective.iter().eq(kept.iter().copied()) && left.inheritable.is_empty();
                    crate::sys::process::end(if none && as_told { crate::sys::fork::REACHED } else { 1 })
                }
                ForkResult::Parent { child } => waitpid(child, None).unwrap(),
            };
            assert!(
                matches!(status, WaitStatus::Exited(_, crate::sys::fork::REACHED)),
                "{kept:?}: {status:?}"
            );
        }
    }
}
