//! Attacks on rights: files, ids, the monitor.

use super::Report;
use crate::errno::outcome;
use libc::c_long;
use nix::errno::Errno;
use nix::unistd::{Gid, Pid, Uid};
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

fn check(result: c_long) -> Result<(), Errno> {
    Errno::result(result).map(drop)
}

/// Tries to use what belongs to root or to the monitor.
pub(crate) fn files(report: &mut Report) {
    let site = PathBuf::from(std::env::var_os("KRB5_CONFIG").unwrap()).parent().unwrap().to_owned();
    let monitor = format!("/proc/{}", monitor_pid());
    for path in ["/etc/shadow", "/etc/gshadow", "/root", "/proc/1/environ"] {
        report
            .say(&format!("read {path}"), outcome(std::fs::read_dir(path).map(drop).or_else(|_| read(path))));
    }
    for name in ["mem", "environ", "maps", "auxv"] {
        report.say(&format!("read the monitor's {name}"), outcome(read(&format!("{monitor}/{name}"))));
    }
    report.say("list the monitor's descriptors", outcome(std::fs::read_dir(format!("{monitor}/fd"))));
    for name in ["lgss.toml", "lgss_keyring", "lgss_negotiate", "krb5.conf"] {
        let opened = OpenOptions::new().write(true).open(site.join(name));
        report.say(&format!("write {name}"), outcome(opened));
    }
    report.say("list the run directory", outcome(std::fs::read_dir(site.join("run"))));
    report.say("make a file in the site", outcome(std::fs::write(site.join("planted"), "x")));
    report.say("read the worker's program", outcome(read("/proc/self/exe")));
    // Descriptors 0 to 2 are /dev/null, 3 and 4 the pipes, 5 is the list of sources, 6 the cache.
    for fd in 7..1024 {
        // SAFETY: a plain number.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
            let what = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
            // The report's socket.
            if !what.to_string_lossy().starts_with("socket:") || fd > 7 {
                report.say(&format!("use inherited descriptor {fd}: {}", what.display()), Ok(()));
            }
        }
    }
}

fn read(path: &str) -> std::io::Result<()> {
    use std::io::Read;
    std::fs::File::open(path)?.read(&mut [0; 16]).map(drop)
}

pub(crate) fn ids(report: &mut Report) {
    let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
    report.say("setuid(0)", nix::unistd::setuid(root));
    report.say("setresuid(0, 0, 0)", nix::unistd::setresuid(root, root, root));
    report.say("setgid(0)", nix::unistd::setgid(group));
    report.say("setresgid(0, 0, 0)", nix::unistd::setresgid(group, group, group));
    report.say("setgroups(0)", nix::unistd::setgroups(&[group]));
    let old = nix::unistd::setfsuid(root);
    report.say("setfsuid(0)", if nix::unistd::setfsuid(old) == root { Ok(()) } else { Err(Errno::EPERM) });
    let all = caps::sets(u32::MAX);
    report.say("capset", caps::set(&all));
    // SAFETY: plain numbers.
    report.say(
        "take no_new_privs back",
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) }.into()),
    );
    report.say("chroot", nix::unistd::chroot("/tmp"));
    report.say("another's network", {
        let net = std::fs::File::open("/proc/1/ns/net");
        net.map_err(|_| Errno::EACCES).and_then(|net| nix::sched::setns(net, nix::sched::CloneFlags::empty()))
    });
    report.say(
        "mount",
        nix::mount::mount(None::<&str>, "/mnt", Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>),
    );
    // SAFETY: plain numbers.
    report.say(
        "be dumpable",
        match unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } {
            1 => Ok(()),
            _ => Err(Errno::EPERM),
        },
    );
}

/// capset(2) without another crate.
mod caps {
    use nix::errno::Errno;

    /// `_LINUX_CAPABILITY_VERSION_3` and this process, then effective, permitted and inheritable sets in two words
    /// each.
    pub(super) fn sets(bits: u32) -> ([u32; 2], [u32; 6]) {
        ([0x2008_0522, 0], [bits; 6])
    }

    pub(super) fn set((header, sets): &([u32; 2], [u32; 6])) -> Result<(), Errno> {
        // SAFETY: both have the layout of version 3 and outlive the call.
        Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
    }
}

pub(crate) fn monitor(report: &mut Report) {
    let monitor = monitor_pid();
    let pid = monitor.as_raw();
    report.say("have init as parent", if pid == 1 { Ok(()) } else { Err(Errno::EPERM) });
    for signal in [nix::sys::signal::SIGSTOP, nix::sys::signal::SIGTERM, nix::sys::signal::SIGKILL] {
        report.say(&format!("{signal} to the monitor"), nix::sys::signal::kill(monitor, signal));
    }
    report.say("ptrace the monitor", nix::sys::ptrace::attach(monitor));
    report.say("seize the monitor", nix::sys::ptrace::seize(monitor, nix::sys::ptrace::Options::empty()));
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: 0x40_0000 as *mut _, iov_len: 1 };
    // SAFETY: one byte of ours; the kernel checks the remote address.
    report.say(
        "read the monitor's memory",
        check(unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) } as c_long),
    );
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads one rlimit.
    report.say(
        "limit the monitor",
        check(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) }.into()),
    );
    // SAFETY: plain numbers.
    report.say(
        "renice the monitor",
        check(unsafe { libc::setpriority(libc::PRIO_PROCESS, pid as u32, 19) }.into()),
    );
    // It would be closed in the monitor, for as long as we like.
    let (lingers, number) = (std::fs::File::open("/dev/null").unwrap(), 4);
    let sent = [lingers.as_raw_fd()];
    let rights = [nix::sys::socket::ControlMessage::ScmRights(&sent)];
    let bytes = [std::io::IoSlice::new(b"x")];
    let nothing = nix::sys::socket::MsgFlags::empty();
    let sending = nix::sys::socket::sendmsg::<()>(number, &bytes, &rights, nothing, None);
    report.say("send the monitor a descriptor", sending.map(drop));
    // SAFETY: plain numbers.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    report.say("open the monitor", check(pidfd));
    for fd in (0..10).filter(|_| pidfd >= 0) {
        // SAFETY: plain numbers.
        report.say(
            &format!("take the monitor's descriptor {fd}"),
            check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) }),
        );
    }
}

/// A child that holds the pipes while the worker ends.
pub(crate) fn fork_and_hold(report: &mut Report) {
    // SAFETY: the only thread.
    match unsafe { nix::unistd::fork() } {
        Ok(nix::unistd::ForkResult::Child) => {
            let _ = nix::unistd::setsid();
            loop {
                nix::unistd::pause();
            }
        }
        Ok(nix::unistd::ForkResult::Parent { .. }) => {}
        // Failing to fork is as good.
        Err(errno) => report.say("fork", Err(errno)),
    }
}

/// The monitor's id in the worker's view of /proc; getppid(2) returns 0, since the worker's namespace has no id for it.
pub(crate) fn monitor_pid() -> Pid {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    Pid::from_raw(line.trim().parse().expect("a number"))
}

/// Faults in a directory where the user may make files; a file made there shows that this was reached.
pub(crate) fn crash() {
    let own = std::fs::read_link("/proc/self/exe").expect("our own name");
    std::env::set_current_dir(own.with_file_name("user")).expect("the user's directory");
    std::fs::write("crashes", "").expect("a file");
    // SAFETY: an invalid instruction, which ends the process on purpose.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}
