//! The view of the system that an isolated process has: namespaces of its own, and files that nobody can change in them.
//!
//! Called by a hook's process, the first of a process-id namespace, while it is root. Invariant: nothing that is mounted here is
//! seen outside, and after a failure the process must end.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use super::errno::errno_of;

/// What an isolated process reaches beyond itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing: an empty network, and an empty /run, where the machine's services listen.
    Itself,
    /// The machine's network and services.
    Network,
}

/// Devices that everybody may use.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Links that programs expect beside them (proc_pid_fd(5)).
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Directories for anybody's files.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// Size of what a process may write to, and how many files that are.
const TEMPORARY_SIZE: &str = "mode=1777,size=16m,nr_inodes=1024";

/// Enters namespaces of its own: mounts, System V's objects, host name, cgroups, and for [`Reach::Itself`] the network.
///
/// # Errors
/// Those of unshare(2).
pub(crate) fn enter_own_namespaces(reach: Reach) -> Result<(), Errno> {
    let own = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(match reach {
        Reach::Itself => own | CloneFlags::CLONE_NEWNET,
        Reach::Network => own,
    })
}

/// Makes all that is mounted read-only, with an empty /tmp, the few devices that programs need, and the own processes in /proc.
/// For the first process of a process-id namespace, in a mount namespace of its own.
///
/// # Errors
/// Those of mount(2) and mount_setattr(2): ENOSYS of kernels before 5.12.
pub(crate) fn make_read_only(reach: Reach) -> Result<(), Errno> {
    const NOTHING: Option<&str> = None;
    // First, so that nothing of this is seen outside.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    set_read_only_below_root()?;
    make_devices()?;
    let without_programs = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for directory in TEMPORARY {
        mount_over(directory, without_programs, TEMPORARY_SIZE)?;
    }
    if reach == Reach::Itself {
        mount_over("/run", without_programs | MsFlags::MS_RDONLY, "mode=755,size=4k,nr_inodes=1")?;
    }
    mount(Some("proc"), "/proc", Some("proc"), without_programs | MsFlags::MS_RDONLY, NOTHING)?;
    // The working directory may be one that is covered now.
    nix::unistd::chdir(c"/")
}

/// Mounts a new file system in memory, unless there is no such directory.
fn mount_over(directory: &str, flags: MsFlags, size: &str) -> Result<(), Errno> {
    match mount(Some("tmpfs"), directory, Some("tmpfs"), flags, Some(size)) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
        other => other,
    }
}

fn make_devices() -> Result<(), Errno> {
    const NOTHING: Option<&str> = None;
    let opened = |name: &&str| {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        open(&Path::new("/dev").join(name), flags, Mode::empty())
    };
    let devices: Vec<OwnedFd> = DEVICES.iter().map(opened).collect::<Result<_, _>>()?;
    let size = "mode=755,size=4k,nr_inodes=32";
    mount(Some("tmpfs"), "/dev", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some(size))?;
    for (name, device) in DEVICES.iter().zip(&devices) {
        let place = Path::new("/dev").join(name);
        File::create(&place).map_err(|error| errno_of(&error))?;
        let source = format!("/proc/self/fd/{}", device.as_raw_fd());
        mount(Some(source.as_str()), &place, NOTHING, MsFlags::MS_BIND, NOTHING)?;
    }
    for (name, target) in LINKS {
        symlink(target, Path::new("/dev").join(name)).map_err(|error| errno_of(&error))?;
    }
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NOTHING, "/dev", NOTHING, read_only | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, NOTHING)
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn set_read_only_below_root() -> Result<(), Errno> {
    const RECURSIVE: libc::c_int = 0x8000;
    const READ_ONLY: u64 = 0x1;
    const NO_SETUID: u64 = 0x2;
    let attributes =
        MountAttributes { set: READ_ONLY | NO_SETUID, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path ends with NUL, the structure has the given size, and the kernel only reads both.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
    .map(drop)
}
