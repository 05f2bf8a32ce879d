//! The same attempts without the sandbox, with each half of it, with all of it, and after the first token: what each half is
//! worth. Each attempt is made by a process of its own, since some are its death.

use super::Report;
use crate::errno::errno_of;
use lgss::private_to_lgss::sandbox_trial::{SandboxTrial, confine};
use libc::{c_int, c_long, c_ulong};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// Exit status of an attempt that ended by a panic or could not be confined; no errno has this number.
const UNFIT: i32 = 255;

/// What the attempts are aimed at.
struct Targets {
    /// A file of the user's that is none of its caches.
    secret: PathBuf,
    /// A directory of the user's.
    home: PathBuf,
    /// Another process of the user's that may be traced.
    process: Pid,
    /// A port of this host where somebody listens.
    port: u16,
    /// An abstract socket where somebody listens.
    abstract_name: String,
    /// Connected with each other.
    open_sockets: (UnixDatagram, UnixDatagram),
}

type Attempt = fn(&Targets) -> Result<(), Errno>;

const ATTEMPTS: &[(&str, Attempt)] = &[
    ("read /etc/hosts", |_| read("/etc/hosts")),
    ("start a thread", |_| std::thread::Builder::new().spawn(|| ()).map(drop).map_err(errno_of)),
    ("look at the time", |_| call(libc::SYS_clock_gettime, [0, [0i64; 2].as_mut_ptr() as c_ulong, 0, 0, 0])),
    ("send to an open socket", |t| t.open_sockets.0.send(b"x").map(drop).map_err(errno_of)),
    ("read a file of the user's", |t| read(&t.secret)),
    ("write a file of the user's", |t| write_to(&t.secret)),
    ("make a file in the user's directory", |t| fs::write(t.home.join("planted"), "x").map_err(errno_of)),
    ("list the user's directory", |t| fs::read_dir(&t.home).map(drop).map_err(errno_of)),
    ("make a directory", |t| {
        fs::create_dir(t.home.join(format!("d{}", std::process::id()))).map_err(errno_of)
    }),
    ("make a link", |t| {
        std::os::unix::fs::symlink("/etc", t.home.join(format!("l{}", std::process::id()))).map_err(errno_of)
    }),
    ("make a fifo", |t| {
        nix::unistd::mkfifo(&t.home.join(format!("f{}", std::process::id())), nix::sys::stat::Mode::S_IRWXU)
    }),
    ("remove a file of the user's", |t| fs::remove_file(t.home.join("removable")).map_err(errno_of)),
    ("make a file executable", |t| {
        fs::set_permissions(&t.secret, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(errno_of)
    }),
    ("make a file in /tmp", |_| {
        // Another run's file of that name would be another user's.
        let file = format!("/tmp/lgss-captive-{}", nix::unistd::getuid());
        fs::write(&file, "").and_then(|()| fs::remove_file(&file)).map_err(errno_of)
    }),
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
    ("watch files", |_| call(libc::SYS_inotify_init1, [0; 5])),
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
    ("write to the system log", |_| {
        UnixDatagram::unbound().and_then(|s| s.send_to(b"<81>forged", "/dev/log")).map(drop).map_err(errno_of)
    }),
    ("reach an abstract socket", |t| {
        let address = SocketAddr::from_abstract_name(&t.abstract_name).map_err(errno_of)?;
        UnixDatagram::unbound().and_then(|socket| socket.connect_addr(&address)).map_err(errno_of)
    }),
    ("make a vsock", |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    ("make a netlink socket for audit", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT)),
    ("make a netlink socket for events", |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT)
    }),
    ("make a bluetooth socket", |_| socket(libc::AF_BLUETOOTH, libc::SOCK_SEQPACKET, 0)),
    ("make a socket for the kernel's ciphers", |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("connect to another port", |t| {
        std::net::TcpStream::connect(("127.0.0.1", t.port)).map(drop).map_err(errno_of)
    }),
    ("listen at a port", |_| std::net::TcpListener::bind("127.0.0.1:0").map(drop).map_err(errno_of)),
    ("make a key", |_| add_key()),
    ("read the user's keyring", |_| keyctl(libc::KEYCTL_READ, [number(libc::KEY_SPEC_USER_KEYRING), 0, 0])),
    ("request a key", |_| {
        call(
            libc::SYS_request_key,
            [c"user".as_ptr() as c_ulong, c"lgss-captive".as_ptr() as c_ulong, 0, 0, 0],
        )
    }),
    ("join another session keyring", |_| keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, [0; 3])),
    ("make code in memory", |_| executable_memory()),
];

/// Makes every attempt in every trial, and reports `attempt|trial` with its errno; the number of SIGSYS, negative, for death. Before
/// them, the kernel's version of Landlock.
pub(crate) fn attack(request: &str, host: &str, report: &mut Report) {
    let list = source_list();
    let own = fs::read_link("/proc/self/exe").expect("our own name");
    let home = own.with_file_name("user");
    let parsed: serde_json::Value = serde_json::from_str(request).expect("a request");
    let port = parsed["target"]["rpc"]["channel"]["port"].as_u64();
    let secret = home.join("secret");
    let targets = Targets {
        secret,
        home,
        process: victim(),
        port: port.expect("a port") as u16 + 1,
        abstract_name: host.to_owned(),
        open_sockets: UnixDatagram::pair().expect("sockets"),
    };
    report.say_number("Landlock|version", landlock());
    for (name, attempt) in ATTEMPTS {
        for trial in SandboxTrial::ALL {
            let _ = fs::write(targets.home.join("removable"), "");
            let status = in_a_child(|| {
                confine(trial, request, &list)?;
                attempt(&targets)
            });
            report.say_number(&format!("{name}|{}", trial.word()), status);
        }
    }
}

/// Confines itself as an honest worker does, then does what none does.
pub(crate) fn make_a_call_that_is_death(request: &str) {
    confine(SandboxTrial::Both, request, &source_list()).expect("a sandbox");
    let _ = run(c"/bin/sh");
}

/// What the launcher has written of the sources.
fn source_list() -> Vec<u8> {
    // SAFETY: by the launcher's contract, descriptor 5 is the list, and it is ours.
    let mut file = unsafe { File::from_raw_fd(5) };
    let mut list = Vec::new();
    file.read_to_end(&mut list).expect("the list of sources");
    // Other descriptors keep their numbers.
    std::mem::forget(file);
    list
}

/// Its errno, 0 if it succeeded, and the number of the signal that ended it as a negative one.
fn in_a_child(attempt: impl FnOnce() -> Result<(), Errno>) -> i32 {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("a process") {
        ForkResult::Child => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt));
            lgss::private_to_lgss::end(
                outcome.map_or(UNFIT, |done| done.err().map_or(0, |errno| errno as i32)),
            )
        }
        ForkResult::Parent { child } => match waitpid(child, None).expect("its end") {
            WaitStatus::Exited(_, status) => status,
            WaitStatus::Signaled(_, signal, _) => -(signal as i32),
            other => panic!("{other:?}"),
        },
    }
}

/// The test's process that waits for the key: it has the user's ids and may be traced by the user.
fn victim() -> Pid {
    let own = nix::unistd::getuid().as_raw();
    let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.into_iter().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uid.and_then(|ids| ids.split_whitespace().next()?.parse().ok()) == Some(own)
            && File::open(format!("/proc/{pid}/mem")).is_ok()
    });
    Pid::from_raw(found.expect("a process of the user's"))
}

/// 0 without Landlock (landlock_create_ruleset(2)).
fn landlock() -> i32 {
    const VERSION: c_long = 1;
    // SAFETY: with this flag the call takes no attributes and returns a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0 as c_long, 0 as c_long, VERSION) };
    version.max(0) as i32
}

fn check(result: c_long) -> Result<(), Errno> {
    Errno::result(result).map(drop)
}

fn number(value: c_int) -> c_ulong {
    value as c_long as c_ulong
}

fn call(what: c_long, [a, b, c, d, e]: [c_ulong; 5]) -> Result<(), Errno> {
    // SAFETY: callers pass plain numbers, or addresses of what outlives the call.
    check(unsafe { libc::syscall(what, a, b, c, d, e) })
}

fn read(path: impl AsRef<Path>) -> Result<(), Errno> {
    File::open(path).and_then(|mut file| file.read(&mut [0; 16])).map(drop).map_err(errno_of)
}

fn write_to(path: impl AsRef<Path>) -> Result<(), Errno> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write(b"x"))
        .map(drop)
        .map_err(errno_of)
}

fn read_memory(process: Pid) -> Result<(), Errno> {
    File::open(format!("/proc/{process}/mem")).map(drop).map_err(errno_of)
}

fn write_memory(process: Pid) -> Result<(), Errno> {
    OpenOptions::new().write(true).open(format!("/proc/{process}/mem")).map(drop).map_err(errno_of)
}

fn process_vm_readv(process: Pid) -> Result<(), Errno> {
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: 0x40_0000 as *mut _, iov_len: 1 };
    // SAFETY: one byte of ours; the kernel checks the remote address.
    let read = check(unsafe { libc::process_vm_readv(process.as_raw(), &local, 1, &remote, 1, 0) } as c_long);
    // The address need not exist there; the right to read has been granted then.
    read.or_else(|errno| if errno == Errno::EFAULT { Ok(()) } else { Err(errno) })
}

fn run(program: &std::ffi::CStr) -> Result<(), Errno> {
    let arguments = [program, c"-c", c"exit 0"];
    nix::unistd::execve(program, &arguments, &[] as &[CString]).map(|_| ())
}

fn run_by_descriptor(program: &str) -> Result<(), Errno> {
    let file = File::open(program).map_err(errno_of)?;
    let arguments = [c"sh", c"-c", c"exit 0"];
    nix::unistd::fexecve(file, &arguments, &[] as &[CString]).map(|_| ())
}

fn fork_once() -> Result<(), Errno> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => lgss::private_to_lgss::end(0),
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
    }
}

fn clone_process(flags: c_int) -> Result<(), Errno> {
    // SAFETY: without a stack and CLONE_VM the child goes on here with a copy of everything, as after fork(2).
    match unsafe { libc::syscall(libc::SYS_clone, number(flags), 0, 0, 0, 0) } {
        0 => lgss::private_to_lgss::end(0),
        other => check(other),
    }
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    check(unsafe { libc::socket(family, kind, protocol) }.into())
}

fn keyctl(operation: u32, [a, b, c]: [c_ulong; 3]) -> Result<(), Errno> {
    call(libc::SYS_keyctl, [operation.into(), a, b, c, 0])
}

fn add_key() -> Result<(), Errno> {
    let (kind, name) = (c"user".as_ptr() as c_ulong, c"lgss-captive".as_ptr() as c_ulong);
    call(libc::SYS_add_key, [kind, name, c"x".as_ptr() as c_ulong, 1, number(libc::KEY_SPEC_PROCESS_KEYRING)])
}

fn executable_memory() -> Result<(), Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address that the kernel chooses; nothing uses it.
    let made = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if made == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}
