//! /proc of one task, always through a descriptor of its directory, so that a recycled id cannot be mistaken for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
