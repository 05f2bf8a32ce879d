//! Why there is no context, for programs and people.

use std::error::Error;
use std::fmt;

use super::os_error::OsError;
use crate::event::{self, Meaning, Reason};
use nix::errno::Errno;

/// A negotiation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoContext {
    /// The kind of failure (docs/formats.md, "Errors").
    pub errno: OsError,
    /// GSS major status (RFC 2743 §1.2.1.1), 0 if GSS had no part in it.
    pub gss_major: u32,
    /// The failure in words. `None` where the requester may not know more than the errno (rule S15), and where an upcall
    /// refused the request without making a context.
    pub reason: Option<Reason>,
    /// The kernel negated the key by itself, because no upcall is installed or none answered.
    pub no_upcall: bool,
}

impl NoContext {
    /// What a key that the kernel or the upcall has negated says by its error alone.
    pub(super) fn negated(errno: OsError) -> Self {
        Self { errno, gss_major: 0, reason: None, no_upcall: errno.0 == Errno::ENOKEY }
    }

    fn meaning(&self) -> Meaning {
        if self.no_upcall { event::NO_UPCALL } else { event::meaning(self.errno.0) }
    }

    /// What went wrong, in a few words.
    pub fn cause(&self) -> &'static str {
        self.reason.as_ref().and_then(Reason::summary).unwrap_or_else(|| self.meaning().cause)
    }

    /// What the user can do about it.
    pub fn remedy(&self) -> &str {
        self.reason.as_ref().map_or_else(|| self.meaning().remedy, |reason| &reason.remedy)
    }
}

impl fmt::Display for NoContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no context: {:?}: {}", self.errno, self.cause())?;
        let detail = self.reason.as_ref().map_or("", |reason| &reason.detail);
        if !detail.is_empty() {
            write!(f, " ({detail})")?;
        }
        write!(f, "; {}", self.remedy())
    }
}

impl Error for NoContext {}
