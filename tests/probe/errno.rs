//! The errno of a standard library error, for the test programs, to which the library does not show its own.

use nix::errno::Errno;
use std::io;

/// The error's errno; EIO if it does not come from the kernel.
pub(crate) fn errno_of(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Whether something has worked, or the errno.
pub(crate) fn outcome<T>(result: io::Result<T>) -> Result<(), Errno> {
    result.map(drop).map_err(errno_of)
}
