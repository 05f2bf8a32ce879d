//! Errors of the kernel, as programs see them.

use std::error::Error;
use std::fmt;
use std::io;

use nix::errno::Errno;

/// An error number (errno(3)). `Debug` writes its name, such as `ENOKEY`; `Display` adds what it means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OsError(pub(crate) Errno);

impl OsError {
    /// The name, such as `ENOKEY`.
    pub fn name(self) -> String {
        format!("{:?}", self.0)
    }

    /// The number, as `errno` has it on this machine: one of libc's constants.
    pub fn code(self) -> i32 {
        self.0 as i32
    }
}

impl fmt::Debug for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for OsError {}

impl From<OsError> for io::Error {
    fn from(error: OsError) -> Self {
        Self::from_raw_os_error(error.code())
    }
}
