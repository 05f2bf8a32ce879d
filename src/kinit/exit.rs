//! The exit status of `lgss_kinit`: kinit(1)'s, and others for what kinit does not do.

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
    /// The ticket does not hold as long as it should.
    Short = 3,
    /// The command cannot be executed, as shells have it.
    NotExecutable = 126,
    /// There is no such command.
    NotFound = 127,
}

impl Termination for KinitExit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
