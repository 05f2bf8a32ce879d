//! The errno of an error of the standard library's.

use std::io;

use nix::errno::Errno;

/// EIO for one that is none of the kernel's.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
