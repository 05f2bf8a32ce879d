//! The user ids of one thread. The C library's setresuid(2) changes those of all threads; the kernel knows only threads.

use nix::errno::Errno;
use nix::unistd::{Uid, geteuid, setfsuid};

/// Gives the calling thread, and no other, its effective uid as its real and saved one, too. It cannot go back.
///
/// # Errors
/// EAGAIN at the user's limit of processes.
pub(crate) fn only_effective_uid() -> Result<(), Errno> {
    let uid = geteuid().as_raw();
    // SAFETY: all arguments are plain numbers. The thread is ours, and no other code relies on its ids.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// The calling thread's uid for files and keys. It differs from the effective uid only in servers that use setfsuid(2).
pub(crate) fn file_system_uid() -> u32 {
    // No such uid: nothing changes, and the present one is returned.
    setfsuid(Uid::from_raw(u32::MAX)).as_raw()
}
