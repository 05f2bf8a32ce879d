//! Reads and writes of which the kernel does a part only, as read(2) and write(2) allow: 17 bytes are wanted, one is
//! transferred, and the caller has to go on.
//!
//! Called by the killer at entry and return of the target's system calls. Invariant: what is changed for a call is put
//! back when it returns, so that the program finds registers and vectors as it left them.

use nix::sys::ptrace::{self, AddressType};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{
    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs,
};
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// How much is transferred.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Byte,
    Half,
}

impl Part {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "byte" => Some(Self::Byte),
            "half" => Some(Self::Half),
            _ => None,
        }
    }

    fn of(self, whole: u64) -> u64 {
        match self {
            Self::Byte => 1,
            Self::Half => whole / 2,
        }
    }
}

/// The transfers of one process.
#[derive(Default)]
pub(crate) struct Transfers {
    /// Those that can be short, and how many of them have been.
    seen: u32,
    short: u32,
    /// The one that is being made.
    present: Option<Shortened>,
    /// What became of the last that was to be short.
    told: String,
}

impl Transfers {
    /// A system call begins. If it is the transfer with this number, or all are meant (0), it becomes a short one.
    pub(crate) fn begin(&mut self, pid: Pid, number: u32, part: Part) {
        let Some(transfer) = Transfer::entered(pid) else { return };
        self.seen += 1;
        if number == 0 || number == self.seen {
            self.told = format!("call {} number {} did not return\n", self.seen, transfer.call);
            self.present = transfer.shorten(pid, part);
        }
    }

    /// A system call returns.
    pub(crate) fn end(&mut self, pid: Pid) {
        let Some(shortened) = self.present.take() else { return };
        let (seen, call, part, whole) = (self.seen, shortened.call, shortened.part, shortened.whole);
        let done = shortened.put_back(pid);
        self.short += u32::from(done == Some(part));
        self.told = match done {
            Some(done) if done == part => {
                format!("shortened call {seen} number {call} from {whole} to {part}\n")
            }
            other => format!("call {seen} number {call} of {whole} was not short: {other:?}\n"),
        };
    }

    /// What happened to the transfer with this number, or to all; `None` if there were not so many.
    pub(crate) fn told(&self, number: u32) -> Option<String> {
        match number {
            0 => Some(format!("shortened {} of {} transfers\n", self.short, self.seen)),
            number => (self.seen >= number).then(|| self.told.clone()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Where a call has its amount.
#[derive(Clone, Copy)]
enum Shape {
    /// In the third argument.
    Bytes,
    /// In a vector at the second argument, of as many elements as the third says.
    Vector,
    /// In the vector of a message at the second argument.
    Message,
}

fn shape(call: i64) -> Option<(Way, Shape)> {
    Some(match call {
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_recvfrom => (Way::In, Shape::Bytes),
        libc::SYS_readv | libc::SYS_preadv => (Way::In, Shape::Vector),
        libc::SYS_recvmsg => (Way::In, Shape::Message),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_sendto => (Way::Out, Shape::Bytes),
        libc::SYS_writev | libc::SYS_pwritev => (Way::Out, Shape::Vector),
        libc::SYS_sendmsg => (Way::Out, Shape::Message),
        _ => return None,
    })
}

/// A call of which the kernel may do a part.
struct Transfer {
    call: i64,
    shape: Shape,
    registers: libc::user_regs_struct,
}

impl Transfer {
    /// The call that a process has just entered, if it is one.
    fn entered(pid: Pid) -> Option<Self> {
        let registers = ptrace::getregs(pid).ok()?;
        let call = registers.orig_rax.cast_signed();
        let (way, shape) = shape(call)?;
        let transfer = Self { call, shape, registers };
        (transfer.elements(pid).iter().map(|element| element.length).sum::<u64>() > 1).then_some(())?;
        may_be_short(pid, registers.rdi, way).then_some(transfer)
    }

    /// The pieces of memory that it is about.
    fn elements(&self, pid: Pid) -> Vec<Element> {
        let (vector, count) = match self.shape {
            Shape::Bytes => return vec![Element { place: Place::Register, length: self.registers.rdx }],
            Shape::Vector => (self.registers.rsi, self.registers.rdx),
            Shape::Message => {
                let field = |offset| word(pid, self.registers.rsi + offset).unwrap_or_default();
                (field(MESSAGE_VECTOR), field(MESSAGE_COUNT))
            }
        };
        let lengths = (0..count.min(1024)).map(|index| vector + index * ELEMENT_SIZE + ELEMENT_LENGTH);
        lengths.filter_map(|at| Some(Element { place: Place::Word(at), length: word(pid, at)? })).collect()
    }

    /// Has only a part of it done. `None` if it cannot be changed.
    fn shorten(self, pid: Pid, part: Part) -> Option<Shortened> {
        let elements = self.elements(pid);
        let whole = elements.iter().map(|element| element.length).sum();
        let part = part.of(whole);
        let (mut left, mut registers, mut words) = (part, self.registers, Vec::new());
        for Element { place, length } in elements {
            let kept = length.min(left);
            left -= kept;
            match place {
                Place::Register => registers.rdx = kept,
                Place::Word(at) if kept < length => {
                    words.push((at, length));
                    put_word(pid, at, kept)?;
                }
                Place::Word(_) => {}
            }
        }
        ptrace::setregs(pid, registers).ok()?;
        Some(Shortened { call: self.call, whole, part, count: self.registers.rdx, words })
    }
}

/// Layout of `struct msghdr` and `struct iovec`.
const MESSAGE_VECTOR: u64 = std::mem::offset_of!(libc::msghdr, msg_iov) as u64;
const MESSAGE_COUNT: u64 = std::mem::offset_of!(libc::msghdr, msg_iovlen) as u64;
const ELEMENT_SIZE: u64 = size_of::<libc::iovec>() as u64;
const ELEMENT_LENGTH: u64 = std::mem::offset_of!(libc::iovec, iov_len) as u64;

struct Element {
    place: Place,
    length: u64,
}

/// Where the length of an element is.
#[derive(Clone, Copy)]
enum Place {
    Register,
    Word(u64),
}

fn word(pid: Pid, at: u64) -> Option<u64> {
    ptrace::read(pid, at as usize as AddressType).ok().map(i64::cast_unsigned)
}

fn put_word(pid: Pid, at: u64, word: u64) -> Option<()> {
    ptrace::write(pid, at as usize as AddressType, word.cast_signed()).ok()
}

/// A transfer that is done in part, with what has been changed for that.
struct Shortened {
    call: i64,
    whole: u64,
    part: u64,
    /// The third argument, in a register that system calls leave as it is.
    count: u64,
    /// Words of memory.
    words: Vec<(u64, u64)>,
}

impl Shortened {
    /// Undoes the changes. Returns how much was transferred, `None` if the call has failed.
    fn put_back(self, pid: Pid) -> Option<u64> {
        for (at, length) in self.words {
            put_word(pid, at, length)?;
        }
        let mut registers = ptrace::getregs(pid).ok()?;
        registers.rdx = self.count;
        ptrace::setregs(pid, registers).ok()?;
        u64::try_from(registers.rax.cast_signed()).ok()
    }
}

/// Whether the kernel may do a part: on regular files, pipes and stream sockets. Datagrams and packets are whole. What
/// is written to a file of /proc, /sys or a cgroup is an order, and is whole, too, as is a value below /proc/sys. The
/// dynamic loader takes a library that it can read only a part of for a broken one.
fn may_be_short(pid: Pid, fd: u64, way: Way) -> bool {
    let Some(file) = descriptor_of(pid, fd) else { return false };
    let Ok(status) = fstat(&file) else { return false };
    match SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFIFO => true,
        SFlag::S_IFSOCK => getsockopt(&file, sockopt::SockType) == Ok(SockType::Stream),
        SFlag::S_IFREG => {
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            let path = std::fs::read_link(link).unwrap_or_default().to_string_lossy().into_owned();
            let is_of_kernel =
                fstatfs(file.as_fd()).is_ok_and(|system| OF_KERNEL.contains(&system.filesystem_type()));
            let is_value = path.starts_with("/proc/sys/");
            !path.contains(".so") && !is_value && (way == Way::In || !is_of_kernel)
        }
        _ => false,
    }
}

/// File systems whose files are the kernel's own data.
const OF_KERNEL: [FsType; 4] = [PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC];

/// A copy of another process's descriptor.
fn descriptor_of(pid: Pid, fd: u64) -> Option<OwnedFd> {
    let process = opened(libc::SYS_pidfd_open, [pid.as_raw().into(), 0, 0])?;
    opened(libc::SYS_pidfd_getfd, [process.as_raw_fd().into(), i64::try_from(fd).ok()?, 0])
}

fn opened(call: i64, [a, b, c]: [i64; 3]) -> Option<OwnedFd> {
    // SAFETY: both calls have plain numbers as arguments.
    let fd = i32::try_from(unsafe { libc::syscall(call, a, b, c) }).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}
