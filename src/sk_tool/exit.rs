//! The exit status of `lgss_sk`, which is that of Lustre's tool.

use std::process::{ExitCode, Termination};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SkExit {
    /// Everything was done.
    Done = 0,
    /// Something failed, or the command line cannot be understood.
    Failed = 1,
}

impl Termination for SkExit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
