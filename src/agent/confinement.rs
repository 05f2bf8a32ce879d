//! What the agent may still do once it serves (rules S10, S13): read and write on what is open, receive connections, send
//! lines to the log. Nothing is opened, connected or executed, except that the sessions of clients are looked up in /proc
//! where the scope needs it.

use std::ffi::c_long;
use std::io;
use std::path::Path;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, Scope};
use nix::errno::Errno;

use crate::config::{AgentScope, AgentSettings, AgentStorage};
use crate::sys::call_filter::{Argument, CallAnswer, CallRules};
use crate::sys::call_groups::{
    data_memory, foreign, further_filter, on_attributes, on_descriptors, on_open, on_sockets,
    opening_as_it_is,
};
use crate::sys::file_rules::allow;

/// The newest versions whose rights are used. A kernel with an older one enforces what it has.
const FILES: ABI = ABI::V5;
const NETWORK: ABI = ABI::V4;

/// Calls on connections, and on the process itself.
const AGENTS: [c_long; 5] = [
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_mlockall,
    // Whether a client still lives, where the kernel gives no descriptor with the connection.
    libc::SYS_pidfd_open,
    libc::SYS_close_range,
];

/// Calls by which tickets are renewed: pipes go to the starter, and a timer tells when.
const RENEWALS: [c_long; 3] = [libc::SYS_pipe2, libc::SYS_sendmsg, libc::SYS_timerfd_settime];

/// Operations of keyctl(2) on the persistent keyring.
const ON_KEYS: [u32; 7] = [
    libc::KEYCTL_GET_PERSISTENT,
    libc::KEYCTL_DESCRIBE,
    libc::KEYCTL_READ,
    libc::KEYCTL_UPDATE,
    libc::KEYCTL_LINK,
    libc::KEYCTL_UNLINK,
    libc::KEYCTL_SET_TIMEOUT,
];

/// Confines the process for good.
///
/// # Errors
/// The library's or the kernel's. A kernel without Landlock is none.
pub(super) fn confine(settings: &AgentSettings) -> io::Result<()> {
    confine_files(settings.scope)?;
    on_keys(calls(settings), settings.storage)
        .enforce(CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM))?;
    deadly().enforce(CallAnswer::Kill, CallAnswer::Allow)
}

fn confine_files(scope: AgentScope) -> io::Result<()> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(FILES))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NETWORK)))
        // Not that of signals, which would also hold back the one by which the kernel ends the starter with this process. No
        // call that sends one is left (below).
        .and_then(|rules| rules.scope(Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    if scope == AgentScope::Session {
        allow(&mut rules, Path::new("/proc"), AccessFs::ReadFile.into())?;
    }
    rules.restrict_self().map(drop).map_err(io::Error::other)
}

fn calls(settings: &AgentSettings) -> CallRules {
    let own = std::process::id();
    let rules = on_sockets(on_open(CallRules::default())).calls(&AGENTS);
    let rules = if settings.renew { rules.calls(&RENEWALS) } else { rules };
    let rules = match settings.scope {
        AgentScope::User => rules,
        AgentScope::Session => opening_as_it_is(rules),
    };
    let rules = rules
        .call_with(libc::SYS_prlimit64, &[Argument::IsNull(2)])
        .call_with(libc::SYS_tgkill, &[Argument::Is(0, own)])
        .call_with(libc::SYS_tkill, &[Argument::Is(0, own)]);
    let attributes = [libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_VMA];
    further_filter(on_attributes(on_descriptors(data_memory(rules)), &attributes))
}

fn on_keys(rules: CallRules, storage: AgentStorage) -> CallRules {
    match storage {
        AgentStorage::Memory => rules,
        AgentStorage::Keyring => {
            ON_KEYS.into_iter().fold(rules.calls(&[libc::SYS_add_key]), |rules, operation| {
                rules.call_with(libc::SYS_keyctl, &[Argument::Is(0, operation)])
            })
        }
    }
}

fn deadly() -> CallRules {
    foreign().calls(&[libc::SYS_execve, libc::SYS_execveat])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::errno::errno_of;
    use crate::sys::fork::{ForkResult, REACHED, fork};
    use crate::sys::process::end;
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    /// How a child ends that has confined itself and then does something.
    fn confined(settings: AgentSettings, act: impl FnOnce() -> bool) -> WaitStatus {
        match fork().unwrap() {
            ForkResult::Child => {
                let ready = crate::sys::jail::keep_no_right().is_ok() && confine(&settings).is_ok();
                end(if ready && act() { REACHED } else { 1 })
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        }
    }

    fn refused<T>(result: io::Result<T>) -> bool {
        result.err().is_some_and(|error| matches!(errno_of(&error), Errno::EPERM | Errno::EACCES))
    }

    #[test]
    fn nothing_is_opened_connected_or_signalled_and_what_is_open_works() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let log = UnixDatagram::unbound().unwrap();
        let status = confined(AgentSettings::default(), || {
            refused(File::open("/etc/passwd"))
                && refused(File::open("/proc/self/sessionid"))
                && refused(std::fs::read_dir("/"))
                && refused(UnixStream::connect("/dev/log"))
                && refused(std::net::TcpStream::connect("127.0.0.1:1"))
                && refused(UnixDatagram::unbound())
                && nix::sys::signal::kill(nix::unistd::getppid(), None) == Err(Errno::EPERM)
                && here.write(b"x").is_ok()
                && there.read(&mut [0]).is_ok()
                && log.send_to(b"x", "/nowhere").is_err_and(|error| errno_of(&error) == Errno::ENOENT)
        });
        assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
    }

    #[test]
    fn where_sessions_count_those_of_clients_can_be_read_and_no_other_file() {
        let sessions = AgentSettings { scope: AgentScope::Session, ..AgentSettings::default() };
        let status = confined(sessions, || {
            File::open("/proc/self/sessionid").is_ok()
                && refused(File::open("/etc/passwd"))
                && refused(File::create("/proc/self/comm"))
        });
        assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
    }

    #[test]
    fn keys_are_used_where_they_are_the_storage_and_only_as_caches_need() {
        use crate::sys::keyctl::{self, PROCESS_KEYRING, SESSION_KEYRING};
        let kept = AgentSettings { storage: AgentStorage::Keyring, ..AgentSettings::default() };
        let status = confined(kept, || {
            let key = keyctl::add(c"user", c"lgss-test", b"x", PROCESS_KEYRING);
            key.is_ok_and(|key| {
                keyctl::update(key, b"y").is_ok()
                    && keyctl::read(key).is_ok_and(|content| *content == b"y")
                    && keyctl::revoke(key) == Err(Errno::EPERM)
                    && keyctl::invalidate(key) == Err(Errno::EPERM)
                    && keyctl::set_permissions(key, 0x3f3f_3f3f) == Err(Errno::EPERM)
                    && keyctl::clear(PROCESS_KEYRING) == Err(Errno::EPERM)
                    && keyctl::keyring_id(SESSION_KEYRING) == Err(Errno::EPERM)
                    && keyctl::unlink(key, PROCESS_KEYRING).is_ok()
            })
        });
        assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
        let without = confined(AgentSettings::default(), || {
            keyctl::add(c"user", c"lgss-test", b"x", PROCESS_KEYRING) == Err(Errno::EPERM)
                && keyctl::own_persistent_keyring(PROCESS_KEYRING) == Err(Errno::EPERM)
        });
        assert!(matches!(without, WaitStatus::Exited(_, REACHED)), "{without:?}");
    }

    #[test]
    fn to_execute_a_program_is_death() {
        let status =
            confined(AgentSettings::default(), || nix::unistd::execv(c"/bin/true", &[c"true"]).is_ok());
        assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{status:?}");
    }

    #[test]
    fn pipes_for_workers_are_made_only_where_tickets_are_renewed() {
        for renew in [false, true] {
            let settings = AgentSettings { renew, ..AgentSettings::default() };
            let status = confined(settings, || {
                let made = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC);
                if renew { made.is_ok() } else { made.is_err_and(|errno| errno == Errno::EPERM) }
            });
            assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{renew}: {status:?}");
        }
    }
}
