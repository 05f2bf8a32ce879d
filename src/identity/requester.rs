//! The requester: the task that the kernel keeps blocked until the key is answered (rules S2, S6).
//!
//! It is found by the authorisation key's line in /proc/keys. Only the front looks at it, and only through a descriptor
//! of its /proc directory: reading `syscall` or `ns/*` can block while the task's process is in exec(2).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;

pub(crate) use super::error::RequesterError;
use super::key_list::{self, Bound};
use crate::key::auth_line::Expected;
use crate::sys::{namespaces, proc, tables};

/// How long a task may appear to be running before it is refused.
const RUNNING_LIMIT: Duration = Duration::from_millis(5);
/// Most bytes that are read of a file of the task: one page.
const PROC_PIECE: usize = 4096;

/// A task's user ids in our user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uids {
    /// The user that started the process.
    pub real: u32,
    /// The user whose rights it has.
    pub effective: u32,
    /// The user whose rights it can take back.
    pub saved: u32,
    /// The user whose rights it has to files and keys.
    pub fs: u32,
}

/// The origin of a request, by the system call that its task is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A request_key(2) of a program.
    UserSpace,
    /// Any other system call, or none: the kernel asks on its own behalf.
    Kernel(Wait),
    /// The system call may not be read.
    Unknown,
}

/// Who waits for a request of the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A process that mounts a file system and waits for nothing else.
    Mount,
    /// A thread that serves many, or a process that uses the file system.
    Other,
}

/// Kinds of namespaces of a requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamespaceKind {
    /// The network of its KDC and servers.
    Network,
    /// The user ids, whose owner it is counted for.
    User,
    /// The files that it sees.
    Mount,
}

/// The requester as the kernel shows it.
#[derive(Debug)]
pub(crate) struct Requester {
    /// Its user ids.
    pub uids: Uids,
    /// The origin of its request.
    pub origin: Origin,
    task: ProcTask,
}

impl Requester {
    /// Looks at the requester, by its thread id.
    ///
    /// # Errors
    /// [`RequesterError`]; all of them mean refusal.
    pub(crate) fn look_at(tid: i32) -> Result<Self, RequesterError> {
        let task = ProcTask::open(&tid.to_string())?;
        let uids = read_uids(&task.0)?;
        let origin = read_origin(&task.0)?;
        Ok(Self { uids, origin, task })
    }

    /// What it waits for.
    pub(crate) fn waits(&self) -> Wait {
        waits(self.origin, self.uids)
    }

    /// Its task.
    pub(crate) fn task(&self) -> &ProcTask {
        &self.task
    }
}

#[cfg(test)]
impl Requester {
    /// A requester for tests.
    pub(crate) fn pretended(origin: Origin, uids: Uids) -> Self {
        Self { uids, origin, task: ProcTask::open("self").unwrap() }
    }
}

/// A task, by a descriptor of its directory below /proc, which no task with a recycled id can take over.
#[derive(Debug)]
pub(crate) struct ProcTask(OwnedFd);

impl ProcTask {
    /// The task with this number, or `self`.
    ///
    /// # Errors
    /// [`RequesterError::Proc`].
    pub(crate) fn open(name: &str) -> Result<Self, RequesterError> {
        proc::open_task(name).map(Self).map_err(|e| RequesterError::Proc("task", e))
    }

    /// Its root directory, O_PATH.
    ///
    /// # Errors
    /// [`RequesterError::Proc`].
    pub(crate) fn open_root(&self) -> Result<OwnedFd, RequesterError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        proc::open_link(self.0.as_fd(), "root", flags).map_err(|e| RequesterError::Proc("root", e))
    }

    /// One of its namespaces.
    ///
    /// # Errors
    /// [`RequesterError::Proc`].
    pub(crate) fn open_namespace(&self, namespace: NamespaceKind) -> Result<OwnedFd, RequesterError> {
        let name = match namespace {
            NamespaceKind::Network => "ns/net",
            NamespaceKind::User => "ns/user",
            NamespaceKind::Mount => "ns/mnt",
        };
        proc::open_link(self.0.as_fd(), name, OFlag::O_RDONLY).map_err(|e| RequesterError::Proc(name, e))
    }

    /// Its environment: as the program was started with, or as changed in place since.
    ///
    /// # Errors
    /// [`RequesterError::Proc`].
    pub(crate) fn open_environment(&self) -> Result<OwnedFd, RequesterError> {
        proc::open_link(self.0.as_fd(), "environ", OFlag::O_RDONLY)
            .map_err(|e| RequesterError::Proc("environ", e))
    }

    /// Its file `uid_map`, the user ids of its user namespace (user_namespaces(7)).
    ///
    /// # Errors
    /// [`RequesterError::Proc`].
    pub(crate) fn open_uid_map(&self) -> Result<OwnedFd, RequesterError> {
        proc::open_link(self.0.as_fd(), "uid_map", OFlag::O_RDONLY)
            .map_err(|e| RequesterError::Proc("uid_map", e))
    }

    /// Its cgroups: the text of /proc/PID/cgroup, 4 KiB at most.
    ///
    /// # Errors
    /// [`RequesterError::Proc`].
    pub(crate) fn cgroup(&self) -> Result<Vec<u8>, RequesterError> {
        let mut buffer = [0; PROC_PIECE];
        proc::read_small(self.0.as_fd(), "cgroup", &mut buffer)
            .map(<[u8]>::to_vec)
            .map_err(|e| RequesterError::Proc("cgroup", e))
    }

    /// The identity of its mount namespace.
    ///
    /// # Errors
    /// [`RequesterError::Proc`].
    pub(crate) fn mount_namespace(&self) -> Result<u64, RequesterError> {
        self.open_namespace(NamespaceKind::Mount).and_then(|namespace| {
            namespaces::identity(namespace.as_fd()).map_err(|e| RequesterError::Proc("ns/mnt", e))
        })
    }
}

/// Finds the thread id of the requester of the key under construction, if it does not take too long.
///
/// # Errors
/// [`RequesterError`]; all of them mean refusal.
pub(crate) fn find(expected: Expected, bound: Bound) -> Result<i32, RequesterError> {
    key_list::find(expected, bound)
}

fn read_uids(task: &OwnedFd) -> Result<Uids, RequesterError> {
    let mut buffer = [0; PROC_PIECE];
    let status = proc::read_small(task.as_fd(), "status", &mut buffer)
        .map_err(|e| RequesterError::Proc("status", e))?;
    parse_uids(status).ok_or(RequesterError::Form("status"))
}

/// The real uid of a process, by the directory of its task.
pub(crate) fn real_user(task: &OwnedFd) -> Option<u32> {
    read_uids(task).ok().map(|uids| uids.real)
}

/// Parses the line `Uid:\t<real>\t<effective>\t<saved>\t<fs>` (proc_pid_status(5)). The program's name comes before it,
/// with newlines escaped.
pub(super) fn parse_uids(status: &[u8]) -> Option<Uids> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    let mut ids = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse);
    let mut next = || ids.next()?.ok();
    let uids = Uids { real: next()?, effective: next()?, saved: next()?, fs: next()? };
    next().is_none().then_some(uids)
}

fn read_origin(task: &OwnedFd) -> Result<Origin, RequesterError> {
    let give_up = Instant::now() + RUNNING_LIMIT;
    loop {
        let mut buffer = [0; 256];
        let text = match proc::read_small(task.as_fd(), "syscall", &mut buffer) {
            Err(Errno::EPERM | Errno::EACCES) => return Ok(Origin::Unknown),
            other => other.map_err(|e| RequesterError::Proc("syscall", e))?,
        };
        match parse_syscall(text).ok_or(RequesterError::Form("syscall"))? {
            Syscall::Entered(call) => return Ok(origin(call)),
            Syscall::Running if Instant::now() < give_up => std::thread::sleep(Duration::from_micros(100)),
            Syscall::Running => return Err(RequesterError::Running),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Syscall {
    Running,
    Entered(Call),
}

/// The number of a system call, or −1 outside of one, and the stack pointer, which shows whether a program is 32-bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) stack: u64,
}

/// Parses `running`, or number, six registers, stack pointer and program counter, or outside a system call −1 and only
/// the last two (proc_pid_syscall(5)).
pub(super) fn parse_syscall(text: &[u8]) -> Option<Syscall> {
    let text = std::str::from_utf8(text).ok()?;
    let first = text.split_ascii_whitespace().next()?;
    if first == "running" {
        return Some(Syscall::Running);
    }
    let number = first.parse::<i64>().ok()?.cast_unsigned();
    let stack = text.split_ascii_whitespace().rev().nth(1).and_then(|word| word.strip_prefix("0x"));
    let stack = stack.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    Some(Syscall::Entered(Call { number, stack }))
}

/// The origin, by each of the machine's system-call tables (rule S1).
pub(super) fn origin(Call { number, stack }: Call) -> Origin {
    if tables::REQUEST_KEY_CALLS.contains(&number) {
        Origin::UserSpace
    } else if mounts(number, stack) {
        Origin::Kernel(Wait::Mount)
    } else {
        Origin::Kernel(Wait::Other)
    }
}

/// In a user namespace anybody may mount something, and must not get, by a call in which Lustre happens to need a context,
/// what a mount of Lustre gets. That is root's; one by another uid with CAP_SYS_ADMIN counts as an access.
fn waits(origin: Origin, uids: Uids) -> Wait {
    match origin {
        Origin::Kernel(Wait::Mount) if uids.effective == 0 => Wait::Mount,
        _ => Wait::Other,
    }
}

/// Whether the call mounts. The number of mount(2) in 32-bit tables is that of another call in 64-bit ones.
fn mounts(number: u64, stack: u64) -> bool {
    let plain = number & !tables::TABLE_BITS;
    let in_32_bit_table = number == plain && stack != 0 && stack <= u32::MAX.into();
    let mount = if in_32_bit_table { tables::MOUNT_32 } else { tables::MOUNT };
    plain == mount || tables::NEW_MOUNT_CALLS.contains(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_uids_are_read_and_a_name_cannot_forge_them() {
        let status = b"Name:\tx\\nUid:\t0\t0\t0\t0\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t9\t9\t9\t9\n";
        assert_eq!(parse_uids(status), Some(Uids { real: 1, effective: 2, saved: 3, fs: 4 }));
        for bad in
            ["", "Uid:\t1\t2\t3\n", "Uid:\t1\t2\t3\t4\t5\n", "Uid:\t1\t2\t3\tx\n", "Gid:\t1\t2\t3\t4\n"]
        {
            assert_eq!(parse_uids(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_roots_mount_is_waited_for_as_a_mount() {
        let uids = |effective| Uids { real: 1000, effective, saved: 0, fs: 0 };
        assert_eq!(waits(Origin::Kernel(Wait::Mount), uids(0)), Wait::Mount);
        assert_eq!(waits(Origin::Kernel(Wait::Mount), uids(1000)), Wait::Other);
        for origin in [Origin::Kernel(Wait::Other), Origin::UserSpace, Origin::Unknown] {
            assert_eq!(waits(origin, uids(0)), Wait::Other);
        }
    }

    #[test]
    fn request_key_by_any_table_comes_from_user_space_and_all_else_from_the_kernel() {
        let entered = |number, stack| Some(Syscall::Entered(Call { number, stack }));
        assert_eq!(parse_syscall(b"249 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffc 0x55\n"), entered(249, 0x7ffc));
        assert_eq!(parse_syscall(b"-1 0x7ffe 0x55\n"), entered(u64::MAX, 0x7ffe));
        assert_eq!(parse_syscall(b"running\n"), Some(Syscall::Running));
        assert_eq!(parse_syscall(b"\n"), None);
        #[cfg(target_arch = "x86_64")]
        const REQUEST_KEY: [(u64, u64); 3] =
            [(249, 0x7fff_0000_0000), (287, 0xfff0_0000), (0x4000_00f9, 0xfff0_0000)];
        #[cfg(target_arch = "aarch64")]
        const REQUEST_KEY: [(u64, u64); 2] = [(218, 0xffff_0000_0000), (310, 0xfff0_0000)];
        for (number, stack) in REQUEST_KEY {
            assert_eq!(origin(Call { number, stack }), Origin::UserSpace, "{number}");
        }
        for (number, stack, expected) in
            [(u64::MAX, 0x7fff_0000_0000, Origin::Kernel(Wait::Other)), (0, 0, Origin::Kernel(Wait::Other))]
        {
            assert_eq!(origin(Call { number, stack }), expected, "{number}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn whoever_mounts_is_told_from_others_in_each_table() {
        const HIGH: u64 = 0x7fff_0000_0000;
        const LOW: u64 = 0xfff0_0000;
        for (number, stack, mounting) in [
            (165, HIGH, true),
            (431, HIGH, true),
            (432, HIGH, true),
            (429, HIGH, true),
            (0x4000_00a5, LOW, true),
            (0x4000_01af, LOW, true),
            (21, LOW, true),
            (431, LOW, true),
            // access(2); getresuid(2) by the 32-bit table; a kernel thread's read.
            (21, HIGH, false),
            (165, LOW, false),
            (0, 0, false),
            (u64::MAX, HIGH, false),
        ] {
            let wait = if mounting { Wait::Mount } else { Wait::Other };
            assert_eq!(origin(Call { number, stack }), Origin::Kernel(wait), "{number} {stack:x}");
        }
    }
}
