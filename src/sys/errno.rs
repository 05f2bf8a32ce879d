//! The errno of a standard library error.

use std::io;

use nix::errno::Errno;

/// The error's errno; EIO if it does not come from the kernel.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
