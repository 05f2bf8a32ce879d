//! /proc of one task, always through a descriptor of its directory, so that a reused id cannot be mistaken for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

/// Opens the directory of a task (thread), by its number or as `self`, for [`read_small`] and [`open_link`].
///
/// # Errors
/// ENOENT if the task has gone.
pub(crate) fn open_task(name: &str) -> Result<OwnedFd, Errno> {
    openat(
        AT_FDCWD,
        format!("/proc/{name}").as_str(),
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// Reads a file of the task's directory into `buffer`; the excess is cut off. All text there ends with a newline. One
/// read(2) normally brings that; one that stops before it is not the whole, and half a number would be another number.
///
/// # Errors
/// The kernel's: EPERM and EACCES if we may not look at the task, ESRCH once it has gone.
pub(crate) fn read_small<'b>(
    task: BorrowedFd<'_>,
    name: &str,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let file = openat(task, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match nix::unistd::read(file.as_fd(), room) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        }
        if buffer.get(..length).is_some_and(|text| text.ends_with(b"\n")) {
            break;
        }
    }
    buffer.get(..length).ok_or(Errno::EOVERFLOW)
}

/// Opens the target of a link in the task's directory: `root` (O_PATH) or a namespace (`ns/net`, read-only).
///
/// # Errors
/// The kernel's, as with [`read_small`].
pub(crate) fn open_link(task: BorrowedFd<'_>, name: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    openat(task, name, flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// Processes whose parent is this thread (proc_tid_children(5)).
///
/// # Errors
/// The kernel's: ENOENT without /proc or CONFIG_PROC_CHILDREN.
pub(crate) fn children() -> std::io::Result<Vec<i32>> {
    let text = std::fs::read_to_string("/proc/thread-self/children")?;
    Ok(text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect())
}

/// The first word of a process's command line, cut (proc_pid_cmdline(5)). Not its comm: of what execveat(2) executes, older
/// kernels make that a number.
pub(crate) fn first_word_of(task: BorrowedFd<'_>) -> Option<String> {
    let mut buffer = [0; 64];
    let words = read_small(task, "cmdline", &mut buffer).ok()?;
    words.split(|&byte| byte == 0).next().map(|word| String::from_utf8_lossy(word).into_owned())
}

/// Opens a file of /proc that belongs to no task, such as `keys`. Not by open(2), which in one C library makes a second system
/// call.
///
/// # Errors
/// The kernel's.
pub(crate) fn open_file(path: &str) -> Result<OwnedFd, Errno> {
    openat(AT_FDCWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}
