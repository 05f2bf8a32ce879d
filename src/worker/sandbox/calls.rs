//! Which system calls the worker may make: a list for each phase. The rest gets an error, and some of it kills the process.
//!
//! What no library in the worker has a reason to call kills it: only foreign code can be the caller. Everything else gets EPERM, an answer
//! that libraries know; clone3(2) gets ENOSYS, after which the C library makes its threads by clone(2), whose arguments can be
//! seen. With plugins even the first group gets EPERM.

use std::ffi::{c_int, c_long};
use std::io;

use nix::errno::Errno;

use super::needs::CallNeeds;
use crate::config::WorkerSandbox;
use crate::sys::call_filter::{Argument, CallAnswer, CallRules};
use crate::sys::call_groups::{
    data_memory, foreign, further_filter, hide_clone3, on_attributes, on_descriptors, on_open, on_sockets,
    opening,
};

/// A phase of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PhaseCalls {
    /// Reads credentials, asks name services and KDCs, connects to the server.
    Everything(CallNeeds),
    /// Exchanges tokens over what is open.
    Answers,
}

/// Confines all threads for this phase and everything after it.
///
/// # Errors
/// The library's or the kernel's.
pub(super) fn confine(sandbox: WorkerSandbox, phase: PhaseCalls) -> io::Result<()> {
    allowed(sandbox, phase).enforce(CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM))?;
    if let PhaseCalls::Everything(_) = phase {
        hide_clone3()?;
        if sandbox == WorkerSandbox::Strict {
            deadly().enforce(CallAnswer::Kill, CallAnswer::Allow)?;
        }
    }
    Ok(())
}

fn deadly() -> CallRules {
    foreign().calls(&OTHER_PROGRAMS).calls(OTHER_PROCESSES_HERE)
}

/// The worker runs a site's program before this, and no other.
const OTHER_PROGRAMS: [c_long; 2] = [libc::SYS_execve, libc::SYS_execveat];

#[cfg(target_arch = "x86_64")]
const OTHER_PROCESSES_HERE: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const OTHER_PROCESSES_HERE: &[c_long] = &[];

/// Length of an address of netlink(7), whose socket glibc's name resolution binds. Those of IP are longer.
const NETLINK_ADDRESS: u32 = 12;
/// The same as systemd's library has it, in a union with addresses of all kinds.
const SYSTEMDS_ADDRESS: u32 = 16;

/// Options of sockets, each with its level, that MIT Kerberos, glibc's resolver, systemd's library of netlink and this program
/// set.
const SOCKET_OPTIONS: [(c_int, c_int); 17] = [
    (libc::SOL_NETLINK, libc::NETLINK_PKTINFO),
    (libc::SOL_NETLINK, libc::NETLINK_EXT_ACK),
    (libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_IP, libc::IP_RECVERR),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
];

/// Ways of waiting and of talking to oneself that plugins may use, and any address and option of a socket.
const BY_PLUGINS: [c_long; 10] = [
    libc::SYS_bind,
    libc::SYS_setsockopt,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_flock,
    libc::SYS_pipe2,
    libc::SYS_socketpair,
    libc::SYS_membarrier,
];

#[cfg(target_arch = "x86_64")]
const BY_PLUGINS_HERE: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_pipe];
#[cfg(not(target_arch = "x86_64"))]
const BY_PLUGINS_HERE: &[c_long] = &[];

/// Operations of keyctl(2) by which MIT Kerberos reads a cache and stores a ticket in it.
const CACHE_OPERATIONS: [u32; 9] = [
    libc::KEYCTL_GET_KEYRING_ID,
    libc::KEYCTL_UPDATE,
    libc::KEYCTL_DESCRIBE,
    libc::KEYCTL_LINK,
    libc::KEYCTL_UNLINK,
    libc::KEYCTL_SEARCH,
    libc::KEYCTL_READ,
    libc::KEYCTL_SET_TIMEOUT,
    libc::KEYCTL_GET_PERSISTENT,
];

fn allowed(sandbox: WorkerSandbox, phase: PhaseCalls) -> CallRules {
    let rules = on_oneself(with_options(on_sockets(on_open(CallRules::default()))));
    match phase {
        PhaseCalls::Answers => data_memory(rules),
        PhaseCalls::Everything(needs) => {
            let threads_only = flag(0, libc::CLONE_THREAD);
            let rules = opening(rules)
                .calls(&[libc::SYS_connect, libc::SYS_mmap, libc::SYS_mprotect])
                .call_with(libc::SYS_bind, &[Argument::Is(2, NETLINK_ADDRESS)])
                .call_with(libc::SYS_clone, &[threads_only]);
            let rules = with_keyrings(with_sockets(rules, needs), needs);
            let rules = if needs.own_addresses {
                rules.call_with(libc::SYS_bind, &[Argument::Is(2, SYSTEMDS_ADDRESS)])
            } else {
                rules
            };
            match sandbox {
                WorkerSandbox::Plugins => rules.calls(&BY_PLUGINS).calls(BY_PLUGINS_HERE),
                WorkerSandbox::Strict | WorkerSandbox::Off => rules,
            }
        }
    }
}

/// Calls whose arguments decide whether they reach beyond the process.
fn on_oneself(rules: CallRules) -> CallRules {
    let own = std::process::id();
    let attributes = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_VMA];
    let rules = on_attributes(on_descriptors(rules), &attributes);
    // Data with the first packet would connect a socket without connect(2), which Landlock sees.
    let rules = [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)].into_iter().fold(
        rules,
        |rules, (call, argument)| {
            let mask = libc::MSG_FASTOPEN.unsigned_abs();
            rules.call_with(call, &[Argument::Has { argument, mask, bits: 0 }])
        },
    );
    further_filter(rules)
        .call_with(libc::SYS_prlimit64, &[Argument::IsNull(2)])
        .call_with(libc::SYS_kill, &[Argument::Is(0, own)])
        .call_with(libc::SYS_tgkill, &[Argument::Is(0, own)])
}

fn with_options(rules: CallRules) -> CallRules {
    let is = |argument, value: c_int| Argument::Is(argument, value.unsigned_abs());
    SOCKET_OPTIONS.into_iter().fold(rules, |rules, (level, option)| {
        rules.call_with(libc::SYS_setsockopt, &[is(1, level), is(2, option)])
    })
}

/// Sockets for TCP, UDP and the kernel's routes. Other protocols over IP are not limited by Landlock.
fn with_sockets(rules: CallRules, needs: CallNeeds) -> CallRules {
    const KIND: u32 = 0xf;
    let family = |family: c_int| Argument::Is(0, family.unsigned_abs());
    let kind = |kind: c_int| Argument::Has { argument: 1, mask: KIND, bits: kind.unsigned_abs() };
    let protocol = |protocol: c_int| Argument::Is(2, protocol.unsigned_abs());
    let mut rules = rules;
    for over in [libc::AF_INET, libc::AF_INET6] {
        for (of, named) in [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)] {
            for number in [0, named] {
                let conditions = [family(over), kind(of), protocol(number)];
                rules = rules.call_with(libc::SYS_socket, &conditions);
            }
        }
    }
    let routes = [family(libc::AF_NETLINK), protocol(libc::NETLINK_ROUTE)];
    let rules = rules.call_with(libc::SYS_socket, &routes);
    if needs.local_sockets { rules.call_with(libc::SYS_socket, &[family(libc::AF_UNIX)]) } else { rules }
}

fn with_keyrings(rules: CallRules, needs: CallNeeds) -> CallRules {
    if !needs.keyrings {
        return rules;
    }
    CACHE_OPERATIONS.into_iter().fold(rules.calls(&[libc::SYS_add_key]), |rules, operation| {
        rules.call_with(libc::SYS_keyctl, &[Argument::Is(0, operation)])
    })
}

fn flag(argument: u8, flag: c_int) -> Argument {
    Argument::Has { argument, mask: flag.unsigned_abs(), bits: flag.unsigned_abs() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::errno::errno_of;
    use crate::sys::fork::{ForkResult, fork};
    use crate::sys::{keyctl, process};
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    /// The serial of no key, about which the kernel says ENOKEY.
    const NO_KEY: i32 = 7;
    /// The answer of the filter here, which the kernel gives to none of these calls.
    const REFUSED: Errno = Errno::EXDEV;

    /// Whether the attempt gets to the kernel in a strict worker with these needs.
    #[track_caller]
    fn reaches_the_kernel(needs: CallNeeds, attempt: impl FnOnce() -> Result<(), Errno>) -> bool {
        let rules = allowed(WorkerSandbox::Strict, PhaseCalls::Everything(needs));
        let status = match fork().unwrap() {
            ForkResult::Child => {
                let confined = capctl::prctl::set_no_new_privs().is_ok()
                    && rules.enforce(CallAnswer::Allow, CallAnswer::Refuse(REFUSED)).is_ok();
                let result = if confined { attempt() } else { Err(Errno::ENOTRECOVERABLE) };
                process::end(result.map_or_else(|errno| errno as i32, |()| 0))
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        };
        let WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
        assert_ne!(code, Errno::ENOTRECOVERABLE as i32, "no filter");
        code != REFUSED as i32
    }

    const NO_NEEDS: CallNeeds = CallNeeds { local_sockets: false, keyrings: false, own_addresses: false };

    #[test]
    fn a_worker_with_a_cache_in_a_keyring_has_what_a_cache_needs_of_keyctl_and_no_more() {
        type Operation = fn() -> Result<(), Errno>;
        let of_caches: [Operation; 6] = [
            || keyctl::describe(NO_KEY).map(drop),
            || keyctl::read(NO_KEY).map(drop),
            || keyctl::update(NO_KEY, b"x"),
            || keyctl::link(NO_KEY, NO_KEY),
            || keyctl::unlink(NO_KEY, NO_KEY),
            || keyctl::set_timeout(NO_KEY, Duration::from_secs(1)),
        ];
        let others: [Operation; 6] = [
            || keyctl::revoke(NO_KEY),
            || keyctl::clear(NO_KEY),
            || keyctl::set_permissions(NO_KEY, 0),
            || keyctl::reject(NO_KEY, Duration::from_secs(1), Errno::EIO),
            || keyctl::join_anonymous_session().map(drop),
            || keyctl::find(c"user", c"lgss-test:none").map(drop),
        ];
        let with_keyrings = CallNeeds { keyrings: true, ..NO_NEEDS };
        for (number, operation) in of_caches.into_iter().enumerate() {
            assert!(reaches_the_kernel(with_keyrings, operation), "{number}");
            assert!(!reaches_the_kernel(NO_NEEDS, operation), "{number}");
        }
        for (number, operation) in others.into_iter().enumerate() {
            assert!(!reaches_the_kernel(with_keyrings, operation), "{number}");
        }
    }

    #[test]
    fn a_worker_makes_local_sockets_and_binds_addresses_only_where_names_need_it() {
        let local = || UnixDatagram::unbound().map(drop).map_err(|error| errno_of(&error));
        let bound = || UdpSocket::bind("127.0.0.1:0").map(drop).map_err(|error| errno_of(&error));
        assert!(!reaches_the_kernel(NO_NEEDS, local) && !reaches_the_kernel(NO_NEEDS, bound));
        assert!(reaches_the_kernel(CallNeeds { local_sockets: true, ..NO_NEEDS }, local));
        assert!(reaches_the_kernel(CallNeeds { own_addresses: true, ..NO_NEEDS }, bound));
    }

    #[test]
    fn every_filter_of_a_worker_begins_with_the_death_of_calls_of_another_architecture() {
        let refused = CallAnswer::Refuse(Errno::EPERM);
        let needs =
            |all| PhaseCalls::Everything(CallNeeds { local_sockets: all, keyrings: all, own_addresses: all });
        for sandbox in [WorkerSandbox::Strict, WorkerSandbox::Plugins] {
            for phase in [needs(false), needs(true), PhaseCalls::Answers] {
                let filter = allowed(sandbox, phase).compile(CallAnswer::Allow, refused).unwrap();
                assert!(filter.kills_other_architectures_first(), "{sandbox:?}, {phase:?}");
            }
        }
        let filter = deadly().compile(CallAnswer::Kill, CallAnswer::Allow).unwrap();
        assert!(filter.kills_other_architectures_first());
    }
}
