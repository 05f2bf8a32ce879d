//! What a worker that has been taken over tries (tests/upcall/sandbox/expected.rs says what comes of it).
//!
//! Where the call itself is what is tried, its arguments may be invalid: without a filter the kernel goes on to look at them.

use crate::calls::{
    add_key, attach_filter, bind, call, call_of_32_bits, call_of_x32, clone_process, connect_by_sending,
    executable_memory, fork_once, keyctl, listen, number, process_vm_readv, read, read_memory, run,
    run_by_descriptor, set_option, socket, take_descriptor, write_memory, write_to,
};
use crate::errno::errno_of;
use libc::c_ulong;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

/// What the attempts are aimed at.
pub(crate) struct Targets {
    /// A file of the user's that is none of its caches.
    pub(crate) secret: PathBuf,
    /// Its name for the kernel.
    pub(crate) secret_name: CString,
    /// A file of another user's, which nobody else may read.
    pub(crate) others: PathBuf,
    /// A directory of the user's.
    pub(crate) home: PathBuf,
    /// The name of a file that is to be made.
    pub(crate) temporary: PathBuf,
    /// Another process of the user's that may be traced.
    pub(crate) process: Pid,
    /// As /proc names it; this process's namespace has no number for it.
    pub(crate) monitor: Pid,
    /// The key under negotiation.
    pub(crate) key: i32,
    /// The authority over it; a number that no key has once it is gone.
    pub(crate) authority: i32,
    /// A port of this host where somebody listens.
    pub(crate) port: u16,
    /// An abstract socket where somebody listens.
    pub(crate) abstract_name: String,
    /// What was open before the attempt's process was confined.
    pub(crate) open: OpenSockets,
}

/// Sockets of one attempt's own, since attempts change them.
pub(crate) struct OpenSockets {
    /// Connected with each other.
    pair: (UnixDatagram, UnixDatagram),
    tcp: OwnedFd,
    udp: OwnedFd,
}

impl OpenSockets {
    pub(crate) fn new() -> Self {
        let inet = |kind| {
            nix::sys::socket::socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)
                .expect("a socket")
        };
        let pair = UnixDatagram::pair().expect("sockets");
        Self { pair, tcp: inet(SockType::Stream), udp: inet(SockType::Datagram) }
    }
}

pub(crate) type Attempt = fn(&Targets) -> Result<(), Errno>;

/// Of an operation on a key that has no more arguments, or null for all of them.
const NOTHING: [c_ulong; 2] = [0, 0];

/// A payload and its length.
fn forged() -> [c_ulong; 2] {
    const PAYLOAD: &[u8] = b"forged";
    [PAYLOAD.as_ptr() as c_ulong, PAYLOAD.len() as c_ulong]
}

fn on_key(operation: u32, key: i32, [a, b]: [c_ulong; 2]) -> Result<(), Errno> {
    keyctl(operation, [number(key), a, b])
}

pub(crate) const ATTEMPTS: &[(&str, Attempt)] = &[
    ("read /etc/hosts", |_| read("/etc/hosts")),
    ("start a thread", |_| std::thread::Builder::new().spawn(|| ()).map(drop).map_err(errno_of)),
    ("look at the time", |_| call(libc::SYS_clock_gettime, [0, [0i64; 2].as_mut_ptr() as c_ulong, 0, 0, 0])),
    ("send to an open socket", |t| t.open.pair.0.send(b"x").map(drop).map_err(errno_of)),
    ("read a file of the user's", |t| read(&t.secret)),
    ("write a file of the user's", |t| write_to(&t.secret)),
    ("make a file in the user's directory", |t| fs::write(t.home.join("planted"), "x").map_err(errno_of)),
    ("list the user's directory", |t| fs::read_dir(&t.home).map(drop).map_err(errno_of)),
    ("look at a file of the user's", |t| fs::metadata(&t.secret).map(drop).map_err(errno_of)),
    ("read the user's ssh key", |t| read(t.home.join(".ssh/id"))),
    ("read another user's file", |t| read(&t.others)),
    ("read /etc/shadow", |_| read("/etc/shadow")),
    ("read the machine's memory", |_| read("/dev/mem")),
    ("read the kernel's memory", |_| read("/proc/kcore")),
    ("make a directory", |t| {
        fs::create_dir(t.home.join(format!("d{}", std::process::id()))).map_err(errno_of)
    }),
    ("make a link", |t| {
        std::os::unix::fs::symlink("/etc", t.home.join(format!("l{}", std::process::id()))).map_err(errno_of)
    }),
    ("make a fifo", |t| {
        nix::unistd::mkfifo(&t.home.join(format!("f{}", std::process::id())), nix::sys::stat::Mode::S_IRWXU)
    }),
    ("make a device", |t| {
        let device = t.home.join(format!("n{}", std::process::id()));
        nix::sys::stat::mknod(&device, nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRWXU, 0x103)
    }),
    ("make a second name of a file", |t| {
        fs::hard_link(&t.secret, t.home.join(format!("s{}", std::process::id()))).map_err(errno_of)
    }),
    ("rename a file", |t| fs::rename(t.home.join("removable"), t.home.join("moved")).map_err(errno_of)),
    ("empty a file by its name", |t| nix::unistd::truncate(&t.home.join("removable"), 0)),
    ("change the times of a file", |t| {
        let name = t.secret_name.as_ptr() as c_ulong;
        call(libc::SYS_utimensat, [number(libc::AT_FDCWD), name, 0, 0, 0])
    }),
    ("remove a file of the user's", |t| fs::remove_file(t.home.join("removable")).map_err(errno_of)),
    ("make a file executable", |t| {
        fs::set_permissions(&t.secret, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(errno_of)
    }),
    ("make a file in /tmp", |t| fs::write(&t.temporary, "").map_err(errno_of)),
    ("list /tmp", |_| fs::read_dir("/tmp").map(drop).map_err(errno_of)),
    ("read the memory of a process of the user's", |t| read_memory(t.process)),
    ("write the memory of a process of the user's", |t| write_memory(t.process)),
    ("read the environment of a process of the user's", |t| read(format!("/proc/{}/environ", t.process))),
    ("list all processes", |_| fs::read_dir("/proc").map(drop).map_err(errno_of)),
    ("write below /proc", |_| write_to("/proc/self/comm")),
    ("list all keys", |_| read("/proc/keys")),
    ("trace a process of the user's", |t| {
        nix::sys::ptrace::seize(t.process, nix::sys::ptrace::Options::empty())
    }),
    ("read memory by process_vm_readv", |t| process_vm_readv(t.process)),
    ("signal a process of the user's", |t| nix::sys::signal::kill(t.process, None)),
    ("signal all of its processes", |_| nix::sys::signal::kill(Pid::from_raw(-1), None)),
    ("open a process of the user's", |t| {
        call(libc::SYS_pidfd_open, [number(t.process.as_raw()), 0, 0, 0, 0])
    }),
    ("signal its parent", |_| nix::sys::signal::kill(nix::unistd::getppid(), None)),
    ("signal the monitor", |t| nix::sys::signal::kill(t.monitor, None)),
    ("open the monitor's memory", |t| read_memory(t.monitor)),
    ("list the monitor's descriptors", |t| {
        fs::read_dir(format!("/proc/{}/fd", t.monitor)).map(drop).map_err(errno_of)
    }),
    ("trace the monitor", |t| nix::sys::ptrace::seize(t.monitor, nix::sys::ptrace::Options::empty())),
    ("read the monitor's memory by process_vm_readv", |t| process_vm_readv(t.monitor)),
    ("take a descriptor of the monitor's", |t| take_descriptor(t.monitor)),
    ("compare itself with the monitor", |t| {
        let own = c_ulong::from(std::process::id());
        // KCMP_FILES.
        call(libc::SYS_kcmp, [own, number(t.monitor.as_raw()), 2, 0, 0])
    }),
    ("limit the monitor", |t| {
        let limits = [1024u64, 1024];
        call(libc::SYS_prlimit64, [number(t.monitor.as_raw()), 7, limits.as_ptr() as c_ulong, 0, 0])
    }),
    ("change the monitor's priority", |t| {
        call(libc::SYS_setpriority, [0, number(t.monitor.as_raw()), 19, 0, 0])
    }),
    ("run a shell", |_| run(c"/bin/sh")),
    ("run a shell by its descriptor", |_| run_by_descriptor("/bin/sh")),
    ("fork", |_| fork_once()),
    ("clone a process", |_| clone_process(libc::SIGCHLD)),
    ("clone a process in a user namespace", |_| clone_process(libc::SIGCHLD | libc::CLONE_NEWUSER)),
    ("make a user namespace", |_| call(libc::SYS_unshare, [number(libc::CLONE_NEWUSER), 0, 0, 0, 0])),
    ("make a network namespace", |_| {
        call(libc::SYS_unshare, [number(libc::CLONE_NEWUSER | libc::CLONE_NEWNET), 0, 0, 0, 0])
    }),
    ("enter a namespace", |_| call(libc::SYS_setns, [u64::MAX, 0, 0, 0, 0])),
    ("mount", |_| call(libc::SYS_mount, [0; 5])),
    ("mount by the new interface", |_| call(libc::SYS_fsopen, [c"tmpfs".as_ptr() as c_ulong, 0, 0, 0, 0])),
    ("load a program for bpf", |_| call(libc::SYS_bpf, [0; 5])),
    ("use io_uring", |_| call(libc::SYS_io_uring_setup, [1, [0u8; 120].as_mut_ptr() as c_ulong, 0, 0, 0])),
    ("use userfaultfd", |_| call(libc::SYS_userfaultfd, [1, 0, 0, 0, 0])),
    ("use performance counters", |_| call(libc::SYS_perf_event_open, [0; 5])),
    ("load a module", |_| call(libc::SYS_init_module, [0; 5])),
    ("open a file by its handle", |_| call(libc::SYS_open_by_handle_at, [u64::MAX, 0, 0, 0, 0])),
    ("change the root directory", |_| nix::unistd::chroot("/")),
    ("set the time", |_| call(libc::SYS_clock_settime, [0; 5])),
    ("read the kernel's log", |_| {
        // SYSLOG_ACTION_READ_ALL.
        call(libc::SYS_syslog, [3, [0u8; 64].as_mut_ptr() as c_ulong, 64, 0, 0])
    }),
    ("make a 32-bit call", |_| call_of_32_bits()),
    ("make an x32 call", |_| call_of_x32()),
    ("watch files", |_| call(libc::SYS_inotify_init1, [0; 5])),
    ("make a pipe", |_| nix::unistd::pipe().map(drop)),
    ("make memory without a name", |_| call(libc::SYS_memfd_create, [c"x".as_ptr() as c_ulong, 0, 0, 0, 0])),
    ("make secret memory", |_| call(libc::SYS_memfd_secret, [0; 5])),
    ("make shared memory", |_| call(libc::SYS_shmget, [0, 4096, 0o1600, 0, 0])),
    ("make a message queue", |_| call(libc::SYS_msgget, [0, 0o1600, 0, 0, 0])),
    ("change its priority", |_| call(libc::SYS_setpriority, [0, 0, 19, 0, 0])),
    ("change its limits", |_| call(libc::SYS_prlimit64, [0, 7, [1024u64, 1024].as_ptr() as c_ulong, 0, 0])),
    ("become dumpable", |_| call(libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), 1, 0, 0, 0])),
    ("outlive the monitor", |_| call(libc::SYS_prctl, [number(libc::PR_SET_PDEATHSIG), 0, 0, 0, 0])),
    ("change its personality", |_| call(libc::SYS_personality, [0x40_0000, 0, 0, 0, 0])),
    ("make a local socket", |_| socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)),
    ("make a pair of sockets", |_| UnixDatagram::pair().map(drop).map_err(errno_of)),
    ("write to the system log", |_| {
        UnixDatagram::unbound().and_then(|s| s.send_to(b"<81>forged", "/dev/log")).map(drop).map_err(errno_of)
    }),
    ("write to the journal", |_| {
        let journal = "/run/systemd/journal/socket";
        UnixDatagram::unbound()
            .and_then(|s| s.send_to(b"MESSAGE=forged", journal))
            .map(drop)
            .map_err(errno_of)
    }),
    ("write to the kernel's log", |_| write_to("/dev/kmsg")),
    ("reach an abstract socket", |t| {
        let address = SocketAddr::from_abstract_name(&t.abstract_name).map_err(errno_of)?;
        UnixDatagram::unbound().and_then(|socket| socket.connect_addr(&address)).map_err(errno_of)
    }),
    ("make a vsock", |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    ("make a netlink socket for audit", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT)),
    ("make a netlink socket for events", |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT)
    }),
    ("make a netlink socket for packet filters", |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER)
    }),
    ("make a netlink socket for routes", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)),
    ("make a raw socket", |_| socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
    ("make a socket for packets", |_| socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0)),
    ("make a socket for SCTP", |_| socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP)),
    ("make a socket for multipath TCP", |_| socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)),
    ("make a bluetooth socket", |_| socket(libc::AF_BLUETOOTH, libc::SOCK_SEQPACKET, 0)),
    ("make a socket for the kernel's ciphers", |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("connect to another port", |t| {
        std::net::TcpStream::connect(("127.0.0.1", t.port)).map(drop).map_err(errno_of)
    }),
    ("listen at a port", |_| std::net::TcpListener::bind("127.0.0.1:0").map(drop).map_err(errno_of)),
    ("listen at a port without binding", |t| listen(&t.open.tcp)),
    ("bind a TCP port", |t| bind(&t.open.tcp)),
    ("bind a UDP port", |t| bind(&t.open.udp)),
    ("connect to another port by sending", |t| connect_by_sending(&t.open.tcp, t.port)),
    ("filter a socket's packets", |t| attach_filter(&t.open.udp)),
    ("bind a socket to a device", |t| {
        set_option(&t.open.udp, [libc::SOL_SOCKET, libc::SO_BINDTODEVICE], b"lo\0")
    }),
    ("share a port", |t| set_option(&t.open.udp, [libc::SOL_SOCKET, libc::SO_REUSEPORT], &1)),
    ("mark a socket's packets", |t| set_option(&t.open.udp, [libc::SOL_SOCKET, libc::SO_MARK], &1)),
    ("use others' addresses", |t| set_option(&t.open.udp, [libc::IPPROTO_IP, libc::IP_TRANSPARENT], &1)),
    ("replace the firewall's rules", |t| {
        // IPT_SO_SET_REPLACE.
        set_option(&t.open.udp, [libc::IPPROTO_IP, 64], &[0u8; 96])
    }),
    ("have a protocol above TCP", |t| set_option(&t.open.tcp, [libc::IPPROTO_TCP, libc::TCP_ULP], b"tls")),
    ("repair a connection", |t| set_option(&t.open.tcp, [libc::IPPROTO_TCP, libc::TCP_REPAIR], &1)),
    ("make a key", |_| add_key()),
    ("read the user's keyring", |_| keyctl(libc::KEYCTL_READ, [number(libc::KEY_SPEC_USER_KEYRING), 0, 0])),
    ("find the user's keyring", |_| {
        keyctl(libc::KEYCTL_GET_KEYRING_ID, [number(libc::KEY_SPEC_USER_KEYRING), 0, 0])
    }),
    ("request a key", |_| {
        call(
            libc::SYS_request_key,
            [c"user".as_ptr() as c_ulong, c"lgss-captive".as_ptr() as c_ulong, 0, 0, 0],
        )
    }),
    ("join another session keyring", |_| keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, [0; 3])),
    ("give its parent a session keyring", |_| keyctl(libc::KEYCTL_SESSION_TO_PARENT, [0; 3])),
    ("describe the key", |t| on_key(libc::KEYCTL_DESCRIBE, t.key, NOTHING)),
    ("read the key", |t| on_key(libc::KEYCTL_READ, t.key, NOTHING)),
    ("update the key", |t| on_key(libc::KEYCTL_UPDATE, t.key, forged())),
    ("instantiate the key", |t| on_key(libc::KEYCTL_INSTANTIATE, t.key, forged())),
    ("reject the key", |t| on_key(libc::KEYCTL_REJECT, t.key, [1, number(libc::EACCES)])),
    ("revoke the key", |t| on_key(libc::KEYCTL_REVOKE, t.key, NOTHING)),
    ("invalidate the key", |t| on_key(libc::KEYCTL_INVALIDATE, t.key, NOTHING)),
    ("change the key's permissions", |t| on_key(libc::KEYCTL_SETPERM, t.key, [0x3f3f_3f3f, 0])),
    ("change the key's owner", |t| on_key(libc::KEYCTL_CHOWN, t.key, [0, c_ulong::from(u32::MAX)])),
    ("change the key's timeout", |t| on_key(libc::KEYCTL_SET_TIMEOUT, t.key, NOTHING)),
    ("link the key", |t| on_key(libc::KEYCTL_LINK, t.key, [number(libc::KEY_SPEC_SESSION_KEYRING), 0])),
    ("assume authority over the key", |t| on_key(libc::KEYCTL_ASSUME_AUTHORITY, t.key, NOTHING)),
    ("describe the key's authority", |t| on_key(libc::KEYCTL_DESCRIBE, t.authority, NOTHING)),
    ("read the key's authority", |t| on_key(libc::KEYCTL_READ, t.authority, NOTHING)),
    ("update the key's authority", |t| on_key(libc::KEYCTL_UPDATE, t.authority, forged())),
    ("instantiate the key's authority", |t| on_key(libc::KEYCTL_INSTANTIATE, t.authority, forged())),
    ("revoke the key's authority", |t| on_key(libc::KEYCTL_REVOKE, t.authority, NOTHING)),
    ("make code in memory", |_| executable_memory()),
];
