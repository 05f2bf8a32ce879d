//! Descriptors that a program is started with.
//!
//! Called by a program's first step, before it opens anything.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::exec::close_all_but;

/// The first descriptor that is no standard one.
const FIRST: RawFd = 3;

/// Takes the one descriptor that the program was given besides the standard ones, which gets close-on-exec, and closes all
/// others; without one, closes all.
///
/// # Errors
/// EBADF if there is no such descriptor, or it is a standard one; EALREADY the second time; those of close_range(2), and EDEADLK if there
/// is another thread: then others may still be open, so the program must end.
pub(crate) fn take_only(number: Option<RawFd>) -> Result<Option<OwnedFd>, Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Errno::EALREADY);
    }
    let Some(number) = number else {
        close_all_but(&[])?;
        return Ok(None);
    };
    if number < FIRST {
        return Err(Errno::EBADF);
    }
    // SAFETY: borrowed only to be kept and checked. If the descriptor is not open, the calls just fail or leave it out.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    close_all_but(&[borrowed])?;
    fcntl(borrowed, FcntlArg::F_GETFD)?;
    // SAFETY: open, as just checked; given to the program, so no part of it owns the descriptor yet, and taken once.
    let given = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(given.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(Some(given))
}
