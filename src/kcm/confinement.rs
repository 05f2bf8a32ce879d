//! What the two processes may still do (rule S13).
//!
//! The keeper's confinement is also that of every agent, and of what an agent starts, since all are its children: it must leave
//! them what they need. So it is a list of what is refused: to write to files, to become root, foreign code's calls. The
//! acceptor's is a list of what it needs; all else is refused, and foreign code's calls kill it.

use std::ffi::c_long;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use nix::errno::Errno;
use nix::unistd::Uid;

use super::failure::KcmFailure;
use crate::sys::call_filter::{Argument, CallAnswer, CallRules};
use crate::sys::call_groups::{data_memory, foreign, hide_clone3, on_descriptors, with_namespaces};
use crate::sys::errno::errno_of;
use crate::sys::file_rules::allow;
use crate::sys::{jail, kept_setuid};

/// The newest version of Landlock whose rights are used. A kernel with an older one enforces what it has.
const VERSION: ABI = ABI::V6;

/// The acceptor's calls.
const ACCEPTORS: [c_long; 30] = [
    libc::SYS_accept4,
    libc::SYS_close,
    // The log's socket, once more.
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_ppoll,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_futex,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The last words of a fault.
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_sched_yield,
];

/// The same by numbers that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const ACCEPTORS_HERE: &[c_long] = &[libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const ACCEPTORS_HERE: &[c_long] = &[];

/// Confines this process, which keeps the right to become a user and must not become root. Returns whether the kernel enforces
/// that no file is written.
///
/// More than the filter of calls rests on that: with CAP_SETUID, who writes the uid_map of another process's new user namespace
/// can map the host's root into it. Since Linux 5.12 that takes CAP_SETFCAP, too, which is given up; before, only this prevents it,
/// and there is no Landlock before 5.13. What neither prevents: a message of this process can name uid 0 as its sender
/// (SCM_CREDENTIALS of unix(7)).
///
/// # Errors
/// [`KcmFailure`].
pub(super) fn confine_keeper() -> Result<RulesetStatus, KcmFailure> {
    let step = |step, error: &io::Error| KcmFailure::Step(step, errno_of(error));
    let status = leave_files_as_they_are().map_err(|error| step("files", &error))?;
    let filtered = refused_to_all()
        .enforce(CallAnswer::Refuse(Errno::EPERM), CallAnswer::Allow)
        .and_then(|()| hide_clone3());
    filtered.map_err(|error| step("calls", &error))?;
    Ok(status)
}

/// Ends the start if this process, which is confined, can become root all the same.
///
/// # Errors
/// [`KcmFailure::Root`].
pub(super) fn prove_not_root() -> Result<(), KcmFailure> {
    if kept_setuid::can_become_root() { Err(KcmFailure::Root) } else { Ok(()) }
}

/// An agent keeps its caches in memory or in a keyring, so nobody has to write to a file.
fn leave_files_as_they_are() -> io::Result<RulesetStatus> {
    let written = AccessFs::from_write(VERSION);
    let mut rules =
        Ruleset::default().handle_access(written).and_then(Ruleset::create).map_err(io::Error::other)?;
    let file = AccessFs::WriteFile | AccessFs::Truncate;
    allow(&mut rules, std::path::Path::new("/dev/null"), file)?;
    rules.restrict_self().map(|done| done.ruleset).map_err(io::Error::other)
}

fn refused_to_all() -> CallRules {
    let rules =
        [(libc::SYS_setresuid, 3), (libc::SYS_setreuid, 2), (libc::SYS_setuid, 1), (libc::SYS_setfsuid, 1)];
    rules.into_iter().fold(with_namespaces(foreign()), |rules, (call, ids)| {
        (0..ids).fold(rules, |rules, argument| rules.call_with(call, &[Argument::Is(argument, 0)]))
    })
}

/// Gives up everything but what the acceptor does.
///
/// # Errors
/// Of a step that failed: then the process must end.
pub(super) fn confine_acceptor(own: Uid) -> Result<(), KcmFailure> {
    let step = |step| move |error: io::Error| KcmFailure::Step(step, errno_of(&error));
    kept_setuid::leave_for(own).map_err(|errno| KcmFailure::Step("rights", errno))?;
    jail::die_with_parent().map_err(|errno| KcmFailure::Step("parent", errno))?;
    reach_no_file().map_err(step("files"))?;
    acceptors().enforce(CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM)).map_err(step("calls"))?;
    prove_not_root()
}

fn reach_no_file() -> io::Result<()> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(VERSION)))
        .and_then(|rules| rules.scope(Scope::from_all(VERSION)));
    let rules = ruleset.and_then(Ruleset::create).map_err(io::Error::other)?;
    rules.restrict_self().map(drop).map_err(io::Error::other)
}

fn acceptors() -> CallRules {
    let rules = CallRules::default().calls(&ACCEPTORS).calls(ACCEPTORS_HERE);
    // A door's size, and what may not come by it.
    let rules = rules.call_with(libc::SYS_setsockopt, &[Argument::Is(1, libc::SOL_SOCKET.unsigned_abs())]);
    on_descriptors(data_memory(rules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{ForkResult, REACHED, fork};
    use crate::sys::process::end;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::fs;
    use std::net::{TcpListener, UdpSocket};

    /// Users that nobody else uses.
    const OWN: u32 = 4_000_779;
    const USER: u32 = 4_000_780;

    /// Runs a check in a child that is confined as `confine` does; `REACHED` if all of it held. By root.
    fn confined(confine: fn() -> bool, check: fn() -> Result<(), u8>) -> WaitStatus {
        match fork().unwrap() {
            ForkResult::Child => {
                let status = if confine() { check().map_or_else(i32::from, |()| REACHED) } else { 99 };
                end(status)
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        }
    }

    /// The number of the first that does not hold, counted from 1.
    fn all(checks: &[bool]) -> Result<(), u8> {
        let failed = checks.iter().position(|holds| !holds);
        failed.map_or(Ok(()), |at| Err(u8::try_from(at + 1).unwrap()))
    }

    fn as_keeper() -> bool {
        kept_setuid::keep_only_setuid(Uid::from_raw(OWN), nix::unistd::Gid::from_raw(OWN)).is_ok()
            && confine_keeper().is_ok()
            && prove_not_root().is_ok()
    }

    #[test]
    fn the_keeper_can_become_a_user_and_not_root_and_writes_to_no_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let name = directory.path().join("file");
        fs::write(&name, "").unwrap();
        fs::set_permissions(&name, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let link = format!("/tmp/lgss-test-kcm-{}", std::process::id());
        std::os::unix::fs::symlink(&name, &link).unwrap();
        let status = confined(as_keeper, || {
            let name = format!("/tmp/lgss-test-kcm-{}", nix::unistd::getppid());
            all(&[
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).is_err(),
                fs::File::open(&name).is_ok(),
                fs::OpenOptions::new().write(true).open(&name).is_err(),
                fs::remove_file(&name).is_err(),
                fs::OpenOptions::new().write(true).open("/dev/null").is_ok(),
                nix::unistd::setgroups(&[]).is_err(),
                kept_setuid::leave_for(Uid::from_raw(0)).is_err(),
                kept_setuid::leave_for(Uid::from_raw(USER)).is_ok(),
                nix::unistd::getuid().as_raw() == USER,
                nix::unistd::setuid(Uid::from_raw(OWN)).is_err(),
                fs::OpenOptions::new().write(true).open(&name).is_err(),
            ])
        });
        fs::remove_file(&link).unwrap();
        assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
    }

    #[test]
    fn roots_agent_gets_no_right_of_the_keepers() {
        let status = confined(as_keeper, || {
            all(&[
                kept_setuid::leave_for(Uid::from_raw(OWN)).is_ok(),
                nix::unistd::setuid(Uid::from_raw(USER)).is_err(),
                kept_setuid::hand_on_setuid().is_err(),
                capctl::caps::CapState::get_current()
                    .is_ok_and(|left| left == capctl::caps::CapState::empty()),
            ])
        });
        assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
    }

    #[test]
    fn the_acceptor_opens_executes_and_becomes_nothing() {
        let status = confined(
            || as_keeper() && confine_acceptor(Uid::from_raw(OWN)).is_ok(),
            || {
                all(&[
                    nix::unistd::setuid(Uid::from_raw(USER)).is_err(),
                    fs::File::open("/dev/null").is_err(),
                    fs::metadata("/").is_err(),
                    fork().is_err(),
                    nix::unistd::execv(c"/bin/true", &[c"true"]).is_err(),
                    TcpListener::bind("127.0.0.1:0").is_err() && UdpSocket::bind("127.0.0.1:0").is_err(),
                    nix::sys::signal::kill(nix::unistd::getppid(), None).is_err(),
                    crate::sys::passing::pair().is_ok(),
                ])
            },
        );
        assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
    }
}
