//! Descriptors that the launcher passes to the worker by number.
//!
//! They lack close-on-exec, which every descriptor that this program opens itself has. So the two kinds cannot be confused.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockType, getsockopt, sockopt};

const MONITOR: RawFd = 3;
const LIST: RawFd = 4;

/// The socket to the monitor, descriptor 3. It can be taken once.
///
/// # Errors
/// EBADF if there is no such descriptor, if it is not inherited or has been taken; ENOTSOCK or EPROTOTYPE if it is something
/// else; EALREADY if it was taken and put back.
pub(crate) fn monitor_socket() -> Result<UnixStream, Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    // SAFETY: borrowed only for checks. If the descriptor is not open, the calls just fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(MONITOR) };
    expect_inherited(borrowed)?;
    if getsockopt(&borrowed, sockopt::SockType)? != SockType::Stream {
        return Err(Errno::EPROTOTYPE);
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Errno::EALREADY);
    }
    // SAFETY: open and inherited, as just checked, so no other part of this program owns it; taken only once.
    let owned = unsafe { OwnedFd::from_raw_fd(MONITOR) };
    fcntl(owned.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned.into())
}

/// The list of sources, descriptor 4. It can be taken once.
///
/// # Errors
/// EBADF if there is no such descriptor or it is not inherited, also the second time.
pub(crate) fn source_list() -> Result<File, Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    // SAFETY: borrowed only for a check. If the descriptor is not open, the call just fails.
    let borrowed = unsafe { BorrowedFd::borrow_raw(LIST) };
    expect_inherited(borrowed)?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Errno::EALREADY);
    }
    // SAFETY: open and inherited, as just checked, so no other part of this program owns it; taken only once.
    let owned = unsafe { OwnedFd::from_raw_fd(LIST) };
    fcntl(owned.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned.into())
}

fn expect_inherited(descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD)?);
    if flags.contains(FdFlag::FD_CLOEXEC) { Err(Errno::EBADF) } else { Ok(()) }
}
