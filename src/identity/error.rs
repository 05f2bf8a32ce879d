//! Why the requester cannot be identified.

use std::time::Duration;

use nix::errno::Errno;

use crate::key::auth_line::AuthLineError;

/// Why the requester could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequesterError {
    /// /proc/keys does not name it.
    #[error(transparent)]
    AuthLine(#[from] AuthLineError),
    /// There are too many keys to find the requester in time.
    #[error("{0} keys on this machine; the requester is searched for among {1} at most")]
    TooManyKeys(u64, u64),
    /// The search of the list took more processor time than this.
    #[error("finding the requester in /proc/keys takes more than {0:?}")]
    TooSlow(Duration),
    /// A file of /proc cannot be read.
    #[error("/proc {0}: {1}")]
    Proc(&'static str, #[source] Errno),
    /// A file of /proc has another form than expected.
    #[error("/proc {0} has an unknown form")]
    Form(&'static str),
    /// The task is not blocked, as a requester must be.
    #[error("the requester is running")]
    Running,
}
