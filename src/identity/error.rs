//! Why it cannot be shown who asked.

use std::time::Duration;

use nix::errno::Errno;

use crate::key::auth_line::AuthLineError;

/// Why the requester could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequesterError {
    /// /proc/keys does not tell.
    #[error(transparent)]
    AuthLine(#[from] AuthLineError),
    /// Too many keys to find the requester among them in time.
    #[error("{0} keys on this machine, more than the {1} among which the requester is looked for")]
    TooManyKeys(u64, u64),
    /// Searching the list has taken so much processor time.
    #[error("to look for the requester in /proc/keys takes more than {0:?}")]
    TooSlow(Duration),
    /// A file of /proc cannot be read.
    #[error("/proc {0}: {1}")]
    Proc(&'static str, #[source] Errno),
    /// A file of /proc does not have the form known.
    #[error("/proc {0} has an unknown form")]
    Form(&'static str),
    /// It is not blocked, as the requester must be.
    #[error("the requester is running")]
    Running,
}
