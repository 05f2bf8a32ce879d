//! Why tickets cannot be kept in keys, or not be found there.

use std::fmt;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::key::quota::{self, Share};

/// Why tickets cannot be kept, or not be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketKeyFailure {
    /// There are none, or their time is over.
    #[error("none yet")]
    Absent,
    /// A key with their name, which others own or have rights to.
    #[error("a key of root's user keyring has their name, but is not root's alone: not used")]
    Foreign,
    /// The keys hold something else, or not everything.
    #[error("the keys in root's user keyring do not hold a whole cache: not used")]
    Damaged,
    /// More than was made room for: so many bytes, and so much room.
    #[error("{0} bytes, of which keys take {1}: machine.cache = \"own\" takes more")]
    TooLarge(usize, usize),
    /// The quota is used up.
    #[error(
        "the quota of keys is full{0}; sysctl kernel.keys.root_maxkeys and kernel.keys.root_maxbytes raise it"
    )]
    Quota(QuotaUse),
    /// The kernel refuses.
    #[error("{step}: {}", .errno.desc())]
    Kernel {
        /// What was to be done.
        step: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
}

/// Use and limits of a quota, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QuotaUse(Option<(Share, Share)>);

impl TicketKeyFailure {
    /// The failure of this step.
    pub(super) fn of(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| match errno {
            Errno::EDQUOT => Self::Quota(QuotaUse(quota::of(geteuid().as_raw()))),
            errno => Self::Kernel { step, errno },
        }
    }
}

impl fmt::Display for QuotaUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((keys, bytes)) = self.0 else { return Ok(()) };
        write!(f, ": {} of {} bytes, {} of {} keys", bytes.used, bytes.limit, keys.used, keys.limit)
    }
}
