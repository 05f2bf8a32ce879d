//! One task: /proc, always through a descriptor of its directory, so that a recycled id cannot be mistaken for it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// Opens the directory of a task (thread) for use by [`read_small`] and [`open_link`].
///
/// # Errors
/// ENOENT if the task has gone.
pub fn open_task(tid: i32) -> Result<OwnedFd, Errno> {
    open(
        format!("/proc/{tid}").as_str(),
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// Reads a file of the task's directory into `buffer`; what does not fit is cut.
///
/// # Errors
/// The kernel's: EPERM and EACCES where the task may not be looked at, ESRCH once it has gone.
pub fn read_small<'b>(task: BorrowedFd<'_>, name: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let file = openat(task, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match nix::unistd::read(file.as_fd(), rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    buffer.get(..filled).ok_or(Errno::EOVERFLOW)
}

/// Opens what a link of the task's directory leads to: `root` (O_PATH) or a namespace (`ns/net`, read-only).
///
/// # Errors
/// The kernel's, as with [`read_small`].
pub fn open_link(task: BorrowedFd<'_>, name: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    openat(task, name, flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// A task's user ids in our user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uids {
    /// Who started the process.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// Whose rights it can take back.
    pub saved: u32,
    /// Whose rights it has to files and keys.
    pub fs: u32,
}

/// A thread's user ids by PIDFD_GET_INFO (linux/pidfd.h), since Linux 6.13: a tenth of the cost of `status`.
///
/// # Errors
/// ENOTTY, EINVAL or ENOSYS where the kernel does not have it, ESRCH if the thread has gone.
pub fn uids_of(tid: i32) -> Result<Uids, Errno> {
    const PIDFD_THREAD: libc::c_int = libc::O_EXCL;
    /// _IOWR(0xff, 11, 64 bytes).
    const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;
    const CREDENTIALS: u64 = 0x2;
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        _cgroup: u64,
        _pid_tgid_ppid: [u32; 3],
        ruid: u32,
        _rgid: u32,
        euid: u32,
        _egid: u32,
        suid: u32,
        _sgid: u32,
        fsuid: u32,
        _fsgid_exit_code: [u32; 2],
    }

    // SAFETY: plain numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, tid, PIDFD_THREAD) })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = Info { mask: CREDENTIALS, ..Info::default() };
    // SAFETY: the structure has the 64 bytes that the request's number says, and any bits are valid in it.
    Errno::result(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) })?;
    if info.mask & CREDENTIALS == 0 {
        return Err(Errno::ENOTTY);
    }
    Ok(Uids { real: info.ruid, effective: info.euid, saved: info.suid, fs: info.fsuid })
}

#[cfg(test)]
mod tests {
    use super::uids_of;
    use nix::errno::Errno;

    #[test]
    fn our_own_ids_are_read_where_the_kernel_has_the_call() {
        let ids = nix::unistd::getresuid().unwrap();
        match uids_of(nix::unistd::gettid().as_raw()) {
            Ok(uids) => assert_eq!(
                [uids.real, uids.effective, uids.saved],
                [ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()]
            ),
            Err(errno) => assert!(matches!(errno, Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS), "{errno}"),
        }
    }
}
