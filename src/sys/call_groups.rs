//! Groups of system calls from which the filters of processes are put together ([`super::call_filter`]).

use std::ffi::{c_int, c_long};
use std::io;

use nix::errno::Errno;

use super::call_filter::{Argument, CallAnswer, CallRules};

/// Calls on what is open: memory, threads, time, and files by their descriptors.
const OPEN: [c_long; 54] = [
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
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
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
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
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

/// Calls on sockets that are open, besides reading and writing.
const ON_SOCKETS: [c_long; 7] = [
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
];

/// Calls that look at files.
const LOOKING: [c_long; 9] = [
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_umask,
];

#[cfg(target_arch = "x86_64")]
const LOOKING_HERE: &[c_long] = &[libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const LOOKING_HERE: &[c_long] = &[];

/// Calls that open files, each with the number of the argument that has the flags.
#[cfg(target_arch = "x86_64")]
const OPENING: &[(c_long, u8)] = &[(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[(c_long, u8)] = &[(libc::SYS_openat, 2)];

/// Calls of foreign code only, in every process of ours that reads what strangers wrote: other processes, namespaces, the
/// system's state, interfaces with many holes.
const FOREIGN: [c_long; 44] = [
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
    libc::SYS_fspick,
    libc::SYS_fanotify_init,
    libc::SYS_kcmp,
    libc::SYS_personality,
    libc::SYS_syslog,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

#[cfg(target_arch = "x86_64")]
const FOREIGN_HERE: &[c_long] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_kexec_file_load];
#[cfg(not(target_arch = "x86_64"))]
const FOREIGN_HERE: &[c_long] = &[KEXEC_FILE_LOAD];

/// kexec_file_load(2) in the table that newer architectures share (include/uapi/asm-generic/unistd.h of Linux): for musl on
/// 64-bit Arm, the libc crate has no name for it.
#[cfg(not(target_arch = "x86_64"))]
const KEXEC_FILE_LOAD: c_long = 294;

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

/// Flags of clone(2) for namespaces.
pub(crate) const NAMESPACES: [c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// SECCOMP_FILTER_FLAG_TSYNC.
const FOR_ALL_THREADS: u32 = 1;

/// Allows calls on what is open.
pub(crate) fn on_open(rules: CallRules) -> CallRules {
    rules.calls(&OPEN).calls(OPEN_HERE)
}

/// Allows calls on sockets that are open.
pub(crate) fn on_sockets(rules: CallRules) -> CallRules {
    rules.calls(&ON_SOCKETS)
}

/// Allows calls that open and look at files.
#[cfg(feature = "gss")]
pub(crate) fn opening(rules: CallRules) -> CallRules {
    OPENING.iter().fold(looking(rules), |rules, (call, _)| rules.calls(&[*call]))
}

/// The same, but no file can be emptied by it: a Landlock before version 3 does not see that.
pub(crate) fn opening_as_it_is(rules: CallRules) -> CallRules {
    let kept = |argument| Argument::Has { argument, mask: libc::O_TRUNC.unsigned_abs(), bits: 0 };
    OPENING.iter().fold(looking(rules), |rules, &(call, flags)| rules.call_with(call, &[kept(flags)]))
}

fn looking(rules: CallRules) -> CallRules {
    rules.calls(&LOOKING).calls(LOOKING_HERE)
}

/// Calls of foreign code only.
pub(crate) fn foreign() -> CallRules {
    CallRules::default().calls(&FOREIGN).calls(FOREIGN_HERE)
}

/// Adds the calls that make namespaces, for a list of what is refused. clone3(2) has to be hidden: [`hide_clone3`].
pub(crate) fn with_namespaces(rules: CallRules) -> CallRules {
    NAMESPACES.into_iter().fold(rules, |rules, namespace| {
        let bits = namespace.unsigned_abs();
        rules.call_with(libc::SYS_clone, &[Argument::Has { argument: 0, mask: bits, bits }])
    })
}

/// Allows memory for data, not for code.
pub(crate) fn data_memory(rules: CallRules) -> CallRules {
    let data_only = Argument::Has { argument: 2, mask: libc::PROT_EXEC.unsigned_abs(), bits: 0 };
    rules.call_with(libc::SYS_mmap, &[data_only]).call_with(libc::SYS_mprotect, &[data_only])
}

/// Allows what is done with open descriptors by ioctl(2) and fcntl(2), without operations that watch, signal or lease.
pub(crate) fn on_descriptors(rules: CallRules) -> CallRules {
    let rules = IOCTL_REQUESTS
        .into_iter()
        .fold(rules, |rules, request| rules.call_with(libc::SYS_ioctl, &[Argument::Is(1, request)]));
    FCNTL_OPERATIONS.into_iter().fold(rules, |rules, operation| {
        rules.call_with(libc::SYS_fcntl, &[Argument::Is(1, operation.unsigned_abs())])
    })
}

/// Allows these operations of prctl(2).
pub(crate) fn on_attributes(rules: CallRules, operations: &[c_int]) -> CallRules {
    operations.iter().fold(rules, |rules, operation| {
        rules.call_with(libc::SYS_prctl, &[Argument::Is(0, operation.unsigned_abs())])
    })
}

/// Allows another filter, for all threads. No supervisor can be had.
pub(crate) fn further_filter(rules: CallRules) -> CallRules {
    let conditions = [Argument::Is(0, libc::SECCOMP_SET_MODE_FILTER), Argument::Is(1, FOR_ALL_THREADS)];
    rules.call_with(libc::SYS_seccomp, &conditions)
}

/// Has clone3(2), whose flags no filter sees, look like a call that the kernel does not know. The C library uses clone(2) then.
///
/// # Errors
/// The library's or the kernel's.
pub(crate) fn hide_clone3() -> io::Result<()> {
    clone3().enforce(CallAnswer::Refuse(Errno::ENOSYS), CallAnswer::Allow)
}

fn clone3() -> CallRules {
    CallRules::default().calls(&[libc::SYS_clone3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_of_a_group_begins_with_the_death_of_calls_of_another_architecture() {
        for (rules, answer) in [
            (clone3(), CallAnswer::Refuse(Errno::ENOSYS)),
            (foreign(), CallAnswer::Kill),
            (foreign(), CallAnswer::Refuse(Errno::EPERM)),
        ] {
            let filter = rules.compile(answer, CallAnswer::Allow).unwrap();
            assert!(filter.kills_other_architectures_first(), "{answer:?} for {rules:?}");
        }
    }
}
