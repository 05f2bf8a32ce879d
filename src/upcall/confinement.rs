//! Which system calls monitor, exchange and launcher may still make (rule S13).
//!
//! The monitor reads what a worker and a server wrote. By then it has no capability but CAP_KILL, but it is still root's
//! process: it writes to files of root's. Its filter leaves it those files, keys that exist, its children, and datagrams to the
//! system log. The child that exchanges a token may write, and end. The launcher, which reads caches before it becomes the
//! worker, loses calls that neither of the two needs.
//!
//! Invariant: a monitor is killed only for calls of foreign code. All else that its filter lacks is refused with EPERM, so that
//! a gap in the list costs at most a cleaning-up.

use std::ffi::{c_int, c_long};
use std::io;

use nix::errno::Errno;

use super::assignment::launch_failed;
use crate::config::WorkerSandbox;
use crate::event::Failure;
use crate::sys::call_filter::{Argument, CallAnswer, CallFilter, CallRules};
use crate::sys::call_groups::{
    FOREIGN, FOREIGN_HERE, OPEN, OPEN_HERE, OPENING, OPENING_HERE, further_filter, on_attributes,
    on_descriptors, on_keys,
};
use crate::sys::errno::errno_of;
use crate::sys::jail;

/// The monitor's calls on files, on its children, and on itself.
const MONITORS: [c_long; 22] = [
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_openat2,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_flock,
    libc::SYS_utimensat,
    libc::SYS_chdir,
    libc::SYS_pipe2,
    libc::SYS_close_range,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_pidfd_open,
    libc::SYS_setsid,
    libc::SYS_setitimer,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_setgroups,
    // To the log, which is connected already; a teller connects anew.
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
];

/// The same by numbers that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const MONITORS_HERE: &[c_long] = &[
    libc::SYS_alarm,
    libc::SYS_fork,
    libc::SYS_mkdir,
    libc::SYS_pipe,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const MONITORS_HERE: &[c_long] = &[];

/// Operations on a key that exists, and on keyrings of the process.
const KEY_OPERATIONS: [u32; 14] = [
    libc::KEYCTL_GET_KEYRING_ID,
    libc::KEYCTL_JOIN_SESSION_KEYRING,
    libc::KEYCTL_UPDATE,
    libc::KEYCTL_REVOKE,
    libc::KEYCTL_INVALIDATE,
    libc::KEYCTL_SETPERM,
    libc::KEYCTL_DESCRIBE,
    libc::KEYCTL_CLEAR,
    libc::KEYCTL_UNLINK,
    libc::KEYCTL_READ,
    libc::KEYCTL_INSTANTIATE,
    libc::KEYCTL_REJECT,
    libc::KEYCTL_SET_TIMEOUT,
    libc::KEYCTL_ASSUME_AUTHORITY,
];

/// Attributes that a process with fewer rights gives up once more.
const ATTRIBUTES: [c_int; 7] = [
    libc::PR_SET_DUMPABLE,
    libc::PR_CAPBSET_READ,
    libc::PR_CAPBSET_DROP,
    libc::PR_CAP_AMBIENT,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_SET_PDEATHSIG,
    libc::PR_SET_VMA,
];

/// Flags of clone(2) for namespaces.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .unsigned_abs();

/// Gives up what a monitor does not need once it reads messages. Its children have no more.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn confine_monitor() -> Result<(), Failure> {
    jail::keep_only_kill().map_err(|errno| launch_failed("rights", errno))?;
    filter_monitor().map_err(|error| launch_failed("calls", errno_of(&error)))
}

fn filter_monitor() -> io::Result<()> {
    monitors().enforce(CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM))?;
    let unseen = CallRules::default().calls(&[libc::SYS_clone3]);
    unseen.enforce(CallAnswer::Refuse(Errno::ENOSYS), CallAnswer::Allow)?;
    // It becomes a teller by execveat(2).
    let foreign = CallRules::default().calls(&FOREIGN).calls(FOREIGN_HERE).calls(&[libc::SYS_execve]);
    foreign.enforce(CallAnswer::Kill, CallAnswer::Allow)
}

fn monitors() -> CallRules {
    let of_datagrams = Argument::Has { argument: 1, mask: 0xf, bits: libc::SOCK_DGRAM.unsigned_abs() };
    let is = |argument, value: c_int| Argument::Is(argument, value.unsigned_abs());
    let rules = CallRules::default()
        .calls(&OPEN)
        .calls(OPEN_HERE)
        .calls(&OPENING)
        .calls(OPENING_HERE)
        .calls(&MONITORS)
        .calls(MONITORS_HERE)
        .call_with(libc::SYS_clone, &[Argument::Has { argument: 0, mask: NAMESPACES, bits: 0 }])
        .call_with(libc::SYS_socket, &[is(0, libc::AF_UNIX), of_datagrams])
        // Its limits can be read.
        .call_with(libc::SYS_prlimit64, &[Argument::IsNull(2)])
        // A program that is open, as its own is.
        .call_with(libc::SYS_execveat, &[is(4, libc::AT_EMPTY_PATH)])
        .call_with(libc::SYS_kill, &[is(1, libc::SIGKILL)])
        .call_with(libc::SYS_pidfd_send_signal, &[is(1, libc::SIGKILL)]);
    further_filter(on_keys(on_attributes(on_descriptors(with_memory(rules)), &ATTRIBUTES), &KEY_OPERATIONS))
}

/// Memory, for data alone where the program is static: the loader of a dynamic one, which a teller is, too, maps code.
fn with_memory(rules: CallRules) -> CallRules {
    let calls = [libc::SYS_mmap, libc::SYS_mprotect];
    if !cfg!(target_feature = "crt-static") {
        return rules.calls(&calls);
    }
    let data_only = Argument::Has { argument: 2, mask: libc::PROT_EXEC.unsigned_abs(), bits: 0 };
    calls.into_iter().fold(rules, |rules, call| rules.call_with(call, &[data_only]))
}

/// The filter of a process that writes a block to the kernel and its result to a pipe. Made before the process, which
/// allocates nothing.
///
/// # Errors
/// The library's.
pub(super) fn exchange_filter() -> io::Result<CallFilter> {
    let calls = [
        libc::SYS_write,
        libc::SYS_close,
        libc::SYS_exit_group,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
    ];
    CallRules::default().calls(&calls).compile(CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM))
}

/// Takes from a launcher what neither it nor any worker needs, whatever the worker's own sandbox is to be, unless there is to
/// be none.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn confine_launcher(sandbox: WorkerSandbox) -> Result<(), Failure> {
    if sandbox == WorkerSandbox::Off {
        return Ok(());
    }
    let foreign = CallRules::default().calls(&FOREIGN).calls(FOREIGN_HERE);
    let filtered = foreign.enforce(CallAnswer::Refuse(Errno::EPERM), CallAnswer::Allow);
    filtered.map_err(|error| launch_failed("calls", errno_of(&error)))
}

#[cfg(test)]
mod tests;
