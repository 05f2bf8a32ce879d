//! Descriptors that a program is started with.
//!
//! Called by a program's first step, before it opens anything.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::raw::c_long;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first descriptor that is no standard one.
const FIRST: RawFd = 3;

/// Takes the one descriptor that the program was given besides the standard ones, which gets close-on-exec, and closes all
/// others; without one, closes all.
///
/// # Errors
/// EBADF if there is no such descriptor, or it is a standard one; EALREADY the second time; those of close_range(2): then others
/// may still be open, so the program must end.
pub(crate) fn take_only(number: Option<RawFd>) -> Result<Option<OwnedFd>, Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Errno::EALREADY);
    }
    let Some(number) = number else {
        close(FIRST, RawFd::MAX)?;
        return Ok(None);
    };
    if number < FIRST {
        return Err(Errno::EBADF);
    }
    if number > FIRST {
        close(FIRST, number - 1)?;
    }
    if number < RawFd::MAX {
        close(number + 1, RawFd::MAX)?;
    }
    // SAFETY: borrowed only for a check. If the descriptor is not open, the call just fails.
    fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_GETFD)?;
    // SAFETY: open, as just checked; given to the program, so no part of it owns the descriptor yet, and taken once.
    let given = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(given.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(Some(given))
}

fn close(first: RawFd, last: RawFd) -> Result<(), Errno> {
    let none = 0 as c_long;
    // SAFETY: numbers only. By this file's contract nobody in this process owns a descriptor among them.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_close_range, c_long::from(first), c_long::from(last), none)
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_close_is_an_error() {
        // As with a kernel that has no such call, and without closing what other tests have open.
        assert_eq!(close(4, 3), Err(Errno::EINVAL));
        assert_eq!(close(RawFd::MAX, RawFd::MAX), Ok(()));
    }
}
