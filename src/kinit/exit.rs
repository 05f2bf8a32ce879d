//! The exit status of `lgss_kinit`, which is that of kinit(1).

use std::process::{ExitCode, Termination};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KinitExit {
    /// The tickets are in the keyring.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
}

impl Termination for KinitExit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
