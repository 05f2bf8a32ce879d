//! Descriptors that the launcher passes to the worker by number.
//!
//! They lack close-on-exec, which every descriptor that this program opens itself has. So the two kinds cannot be confused.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};

use super::duplex::Duplex;

/// The pipe from the monitor, and the one to it.
const FROM_MONITOR: RawFd = 3;
const TO_MONITOR: RawFd = 4;
const LIST: RawFd = 5;

/// The pipes from and to the monitor, descriptors 3 and 4. They can be taken once.
///
/// # Errors
/// EBADF if there is no such descriptor, or it is not inherited; EPROTOTYPE if it is something else; EALREADY if it was taken.
pub(crate) fn monitor_pipes() -> Result<Duplex, Errno> {
    for (number, access) in [(FROM_MONITOR, OFlag::O_RDONLY), (TO_MONITOR, OFlag::O_WRONLY)] {
        // SAFETY: borrowed only for checks. If the descriptor is not open, the calls just fail.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        expect_inherited(borrowed)?;
        let is_pipe = fstat(borrowed)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits();
        let flags = OFlag::from_bits_retain(fcntl(borrowed, FcntlArg::F_GETFL)?);
        // Deadlines rest on the last.
        if !is_pipe || flags & OFlag::O_ACCMODE != access || !flags.contains(OFlag::O_NONBLOCK) {
            return Err(Errno::EPROTOTYPE);
        }
    }
    Ok(Duplex::over(take(FROM_MONITOR)?, take(TO_MONITOR)?))
}

/// The list of sources, descriptor 5. It can be taken once.
///
/// # Errors
/// EBADF if there is no such descriptor or it is not inherited; EALREADY if it was taken.
pub(crate) fn source_list() -> Result<File, Errno> {
    take(LIST).map(File::from)
}

/// Takes an inherited descriptor, which gets close-on-exec.
fn take(number: RawFd) -> Result<OwnedFd, Errno> {
    static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().map_err(|_| Errno::EALREADY)?;
    // SAFETY: borrowed only for a check. If the descriptor is not open, the call just fails.
    expect_inherited(unsafe { BorrowedFd::borrow_raw(number) })?;
    if taken.contains(&number) {
        return Err(Errno::EALREADY);
    }
    taken.push(number);
    // SAFETY: open and inherited, as just checked, so no other part of this program owns it; taken only once.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(owned.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned)
}

fn expect_inherited(descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD)?);
    if flags.contains(FdFlag::FD_CLOEXEC) { Err(Errno::EBADF) } else { Ok(()) }
}
