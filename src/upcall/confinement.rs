//! What monitor, waiting front, exchange and launcher may still do (rule S13).
//!
//! The monitor reads what a worker and a server wrote. By then it has no capability but CAP_KILL, but it is still root's
//! process. Landlock leaves it its own files to change, where the kernel has it. Its filter of system calls leaves it files,
//! its own key, its children, and datagrams to the system log. A front that waits for the monitor in memory that the two share may
//! reject the key, and end. The child that exchanges a token may write, and end. The
//! launcher, which reads keyrings and caches before it becomes the worker, loses calls that neither of the two needs.
//!
//! Invariant: a monitor is killed only for calls of foreign code. All else that its filter lacks is refused with EPERM, so that
//! the key is still answered.

mod files;

use std::ffi::{c_int, c_long};
use std::io;

use nix::errno::Errno;

use super::assignment::launch_failed;
use super::ticket_store::TicketStore;
use crate::config::{Config, WorkerSandbox};
use crate::creds::ticket_keys::StagedKeys;
use crate::event::{Cause, Failure, Stage};
use crate::key::KeySerial;
use crate::sys::call_filter::{Argument, CallAnswer, CallFilter, CallRules};
use crate::sys::call_groups::{
    NAMESPACES, data_memory, foreign, further_filter, hide_clone3, on_attributes, on_descriptors, on_open,
    opening_as_it_is, with_namespaces,
};
use crate::sys::{jail, keyctl};

/// The monitor's calls on files, on its children, and on itself.
const MONITORS: [c_long; 11] = [
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_pipe2,
    libc::SYS_close_range,
    libc::SYS_wait4,
    libc::SYS_pidfd_open,
    libc::SYS_capget,
    libc::SYS_capset,
    // To the log, which is connected already; a teller connects anew.
    libc::SYS_connect,
    libc::SYS_sendto,
];

/// The same by numbers that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const MONITORS_HERE: &[c_long] =
    &[libc::SYS_fork, libc::SYS_mkdir, libc::SYS_rename, libc::SYS_rmdir, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const MONITORS_HERE: &[c_long] = &[];

/// Operations of keyctl(2) on the upcall's key.
const KEY_OPERATIONS: [u32; 8] = [
    libc::KEYCTL_UPDATE,
    libc::KEYCTL_REVOKE,
    libc::KEYCTL_SETPERM,
    libc::KEYCTL_UNLINK,
    libc::KEYCTL_READ,
    libc::KEYCTL_INSTANTIATE,
    libc::KEYCTL_REJECT,
    libc::KEYCTL_SET_TIMEOUT,
];

/// What KEYCTL_LINK and KEYCTL_UNLINK have in common.
const LINK_OR_UNLINK: u32 = libc::KEYCTL_LINK & libc::KEYCTL_UNLINK;

/// PR_CAP_AMBIENT_CLEAR_ALL.
const CLEAR_ALL: u32 = 4;

/// Gives up all rights of a front but to wait for its monitor, to reject the key, and to end. What is taken over in the memory
/// that the two share can do no more by it.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn confine_waiting_front(key: KeySerial) -> Result<(), Failure> {
    jail::keep_no_capability().map_err(|errno| launch_failed("rights", errno))?;
    let filtered = waiting_fronts(key).enforce(CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM));
    filtered.map_err(|error| unconfined("calls", &error))
}

fn waiting_fronts(key: KeySerial) -> CallRules {
    let key = key.raw().cast_unsigned();
    CallRules::default()
        .calls(&[
            libc::SYS_wait4,
            libc::SYS_rt_sigreturn,
            libc::SYS_restart_syscall,
            libc::SYS_exit_group,
            // As the standard library ends its first thread.
            libc::SYS_sigaltstack,
            libc::SYS_munmap,
        ])
        .call_with(libc::SYS_keyctl, &[Argument::Is(0, libc::KEYCTL_REJECT), Argument::Is(1, key)])
}

/// Gives up what the monitor of this key does not need once it reads messages. Children that it starts from then on have no
/// more. `store` is where it stores tickets of the machine's.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn confine_monitor(
    key: KeySerial,
    config: &Config,
    store: Option<&TicketStore>,
) -> Result<(), Failure> {
    jail::keep_only_kill().map_err(|errno| launch_failed("rights", errno))?;
    restrict_monitor(key, config, store)
}

fn restrict_monitor(key: KeySerial, config: &Config, store: Option<&TicketStore>) -> Result<(), Failure> {
    let elsewhere = store.and_then(TicketStore::directory);
    files::confine(config, elsewhere).map_err(|error| unconfined("files", &error))?;
    filter_monitor(key, store.and_then(TicketStore::keys)).map_err(|error| unconfined("calls", &error))
}

fn unconfined(what: &str, error: &io::Error) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("{what}: {error}"))
}

fn filter_monitor(key: KeySerial, staged: Option<&StagedKeys>) -> io::Result<()> {
    with_staged_keys(monitors(key), staged).enforce(CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM))?;
    hide_clone3()?;
    deadly_to_monitors().enforce(CallAnswer::Kill, CallAnswer::Allow)
}

fn deadly_to_monitors() -> CallRules {
    // It becomes a teller by execveat(2).
    foreign().calls(&[libc::SYS_execve])
}

fn monitors(key: KeySerial) -> CallRules {
    let of_datagrams = Argument::Has { argument: 1, mask: 0xf, bits: libc::SOCK_DGRAM.unsigned_abs() };
    let is = |argument, value: c_int| Argument::Is(argument, value.unsigned_abs());
    // Not a group of processes, be it its own, and not all.
    let (not_negative, not_zero) =
        (Argument::Has { argument: 0, mask: 1 << 31, bits: 0 }, Argument::IsNot(0, 0));
    let namespaces = NAMESPACES.iter().fold(0, |all, flag| all | flag.unsigned_abs());
    let rules = opening_as_it_is(on_open(CallRules::default()))
        .calls(&MONITORS)
        .calls(MONITORS_HERE)
        .call_with(libc::SYS_clone, &[Argument::Has { argument: 0, mask: namespaces, bits: 0 }])
        .call_with(libc::SYS_socket, &[is(0, libc::AF_UNIX), of_datagrams])
        // How long it waits for the log.
        .call_with(libc::SYS_setsockopt, &[is(1, libc::SOL_SOCKET), is(2, libc::SO_SNDTIMEO)])
        // The times of a file that is open.
        .call_with(libc::SYS_utimensat, &[Argument::IsNull(1)])
        // Its limits can be read.
        .call_with(libc::SYS_prlimit64, &[Argument::IsNull(2)])
        // The program is an open file, as its own is. A name could be given, too.
        .call_with(libc::SYS_execveat, &[is(4, libc::AT_EMPTY_PATH)])
        .call_with(libc::SYS_kill, &[not_negative, not_zero, is(1, libc::SIGKILL)])
        // Without flags, by which later kernels signal a group.
        .call_with(libc::SYS_pidfd_send_signal, &[is(1, libc::SIGKILL), is(3, 0)])
        .call_with(libc::SYS_prctl, &[is(0, libc::PR_SET_DUMPABLE), is(1, 0)])
        .call_with(libc::SYS_prctl, &[is(0, libc::PR_CAP_AMBIENT), Argument::Is(1, CLEAR_ALL)]);
    let attributes =
        [libc::PR_CAPBSET_READ, libc::PR_CAPBSET_DROP, libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_VMA];
    let rules = on_attributes(on_descriptors(with_memory(rules)), &attributes);
    further_filter(with_keys(rules, key))
}

/// Allows operations on this key, and those by which the process leaves its session keyring. Any key may be described.
fn with_keys(rules: CallRules, key: KeySerial) -> CallRules {
    let on = |operation, argument| [Argument::Is(0, operation), argument];
    let session = keyctl::SESSION_KEYRING.cast_unsigned();
    let rules = KEY_OPERATIONS.into_iter().fold(rules, |rules, operation| {
        rules.call_with(libc::SYS_keyctl, &on(operation, Argument::Is(1, key.raw().cast_unsigned())))
    });
    rules
        .call_with(libc::SYS_keyctl, &[Argument::Is(0, libc::KEYCTL_DESCRIBE)])
        // Without making one.
        .call_with(libc::SYS_keyctl, &on(libc::KEYCTL_GET_KEYRING_ID, Argument::Is(2, 0)))
        .call_with(libc::SYS_keyctl, &on(libc::KEYCTL_CLEAR, Argument::Is(1, session)))
        // One without a name, which is new.
        .call_with(libc::SYS_keyctl, &on(libc::KEYCTL_JOIN_SESSION_KEYRING, Argument::IsNull(1)))
        // To give the authority up.
        .call_with(libc::SYS_keyctl, &on(libc::KEYCTL_ASSUME_AUTHORITY, Argument::Is(1, 0)))
}

/// Allows to fill these keys, to put them into root's user keyring, and to take them and their predecessors out.
fn with_staged_keys(rules: CallRules, staged: Option<&StagedKeys>) -> CallRules {
    let Some(staged) = staged else { return rules };
    let number = |key: KeySerial| Argument::Is(1, key.raw().cast_unsigned());
    let rules = staged.serials().fold(rules, |rules, key| {
        let update = [Argument::Is(0, libc::KEYCTL_UPDATE), number(key)];
        let time = [Argument::Is(0, libc::KEYCTL_SET_TIMEOUT), number(key)];
        rules.call_with(libc::SYS_keyctl, &update).call_with(libc::SYS_keyctl, &time)
    });
    // The two differ in one bit, and the length of a filter is limited.
    let in_or_out = Argument::Has { argument: 0, mask: !1, bits: LINK_OR_UNLINK };
    let user_keyring = Argument::Is(2, keyctl::USER_KEYRING.cast_unsigned());
    staged
        .serials()
        .chain(staged.former().iter().copied())
        .fold(rules, |rules, key| rules.call_with(libc::SYS_keyctl, &[in_or_out, number(key), user_keyring]))
}

/// Memory, for data alone where the program is static: the loader of a dynamic one, which a teller is, too, maps code.
fn with_memory(rules: CallRules) -> CallRules {
    if cfg!(target_feature = "crt-static") {
        data_memory(rules)
    } else {
        rules.calls(&[libc::SYS_mmap, libc::SYS_mprotect])
    }
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
    let filtered = refused_to_launchers()
        .enforce(CallAnswer::Refuse(Errno::EPERM), CallAnswer::Allow)
        .and_then(|()| hide_clone3());
    filtered.map_err(|error| unconfined("calls", &error))
}

fn refused_to_launchers() -> CallRules {
    with_namespaces(foreign())
}

#[cfg(test)]
mod tests;
