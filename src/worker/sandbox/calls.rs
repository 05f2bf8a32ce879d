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
        let unknown = CallRules::default().calls(&[libc::SYS_clone3]);
        unknown.enforce(CallAnswer::Refuse(Errno::ENOSYS), CallAnswer::Allow)?;
        if sandbox == WorkerSandbox::Strict {
            CallRules::default()
                .calls(&NEVER)
                .calls(NEVER_HERE)
                .enforce(CallAnswer::Kill, CallAnswer::Allow)?;
        }
    }
    Ok(())
}

/// Calls on what is open: memory, threads, time, sockets and files by their descriptors.
const OPEN: [c_long; 62] = [
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same by numbers that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OPEN_HERE: &[c_long] =
    &[libc::SYS_dup2, libc::SYS_poll, libc::SYS_select, libc::SYS_time, libc::SYS_arch_prctl];
#[cfg(not(target_arch = "x86_64"))]
const OPEN_HERE: &[c_long] = &[];

/// Calls that open and look at files, which Landlock limits.
const OPENING: [c_long; 12] = [
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_umask,
    libc::SYS_connect,
    // Name resolution by netlink binds its socket; Landlock forbids TCP's.
    libc::SYS_bind,
];

#[cfg(target_arch = "x86_64")]
const OPENING_HERE: &[c_long] =
    &[libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const OPENING_HERE: &[c_long] = &[];

/// Ways of waiting and of talking to oneself that plugins may use.
const BY_PLUGINS: [c_long; 8] = [
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

/// Calls of foreign code only: other programs and processes, the system's state, interfaces with many holes.
const NEVER: [c_long; 37] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_request_key,
];

#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[c_long] =
    &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[c_long] = &[];

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

/// SECCOMP_FILTER_FLAG_TSYNC.
const FOR_ALL_THREADS: u32 = 1;

/// FIONREAD, FIONBIO, and TCGETS, which tells a terminal from a file.
const IOCTL_REQUESTS: [u32; 3] = [0x541b, 0x5421, 0x5401];

/// Operations of fcntl(2) on descriptors and locks.
const FCNTL_OPERATIONS: [c_int; 13] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_GET_SEALS,
];

const EXECUTABLE: u32 = libc::PROT_EXEC.unsigned_abs();

fn allowed(sandbox: WorkerSandbox, phase: PhaseCalls) -> CallRules {
    let rules = on_oneself(CallRules::default().calls(&OPEN).calls(OPEN_HERE));
    match phase {
        PhaseCalls::Answers => {
            let data_only = Argument::Has { argument: 2, mask: EXECUTABLE, bits: 0 };
            rules.call_with(libc::SYS_mmap, &[data_only]).call_with(libc::SYS_mprotect, &[data_only])
        }
        PhaseCalls::Everything(needs) => {
            let threads_only = flag(0, libc::CLONE_THREAD);
            let rules = rules
                .calls(&OPENING)
                .calls(OPENING_HERE)
                .calls(&[libc::SYS_mmap, libc::SYS_mprotect])
                .call_with(libc::SYS_clone, &[threads_only]);
            let rules = with_keyrings(with_sockets(rules, needs), needs);
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
    let rules = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_VMA]
        .into_iter()
        .fold(rules, |rules, operation| {
            rules.call_with(libc::SYS_prctl, &[Argument::Is(0, operation.unsigned_abs())])
        });
    let rules = IOCTL_REQUESTS
        .into_iter()
        .fold(rules, |rules, request| rules.call_with(libc::SYS_ioctl, &[Argument::Is(1, request)]));
    // Without operations that watch, signal or lease.
    let rules = FCNTL_OPERATIONS.into_iter().fold(rules, |rules, operation| {
        rules.call_with(libc::SYS_fcntl, &[Argument::Is(1, operation.unsigned_abs())])
    });
    // Data with the first packet would connect a socket without connect(2), which Landlock sees.
    let rules = [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)].into_iter().fold(
        rules,
        |rules, (call, argument)| {
            let mask = libc::MSG_FASTOPEN.unsigned_abs();
            rules.call_with(call, &[Argument::Has { argument, mask, bits: 0 }])
        },
    );
    rules
        // For all threads; no supervisor can be had.
        .call_with(
            libc::SYS_seccomp,
            &[Argument::Is(0, libc::SECCOMP_SET_MODE_FILTER), Argument::Is(1, FOR_ALL_THREADS)],
        )
        .call_with(libc::SYS_prlimit64, &[Argument::IsNull(2)])
        .call_with(libc::SYS_kill, &[Argument::Is(0, own)])
        .call_with(libc::SYS_tgkill, &[Argument::Is(0, own)])
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
