//! Which contexts are flushed, and how.

use super::client_context::ClientContext;
use crate::ctx::Service;

/// Which contexts are flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flush {
    /// All.
    All,
    /// Those that belong to this uid.
    Owner(u32),
    /// Those with this service.
    Service(Service),
}

/// What happens to those who use a flushed context at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// They may use it to the end of their work; no lookup gives it any more.
    Graceful,
    /// Their next use of it fails.
    Forced,
}

impl Flush {
    pub(super) fn takes(&self, owner: u32, service: &Service) -> bool {
        match self {
            Self::All => true,
            Self::Owner(wanted) => owner == *wanted,
            Self::Service(wanted) => service == wanted,
        }
    }
}

impl Manner {
    pub(super) fn apply(self, context: &ClientContext) {
        match self {
            Self::Graceful => {}
            Self::Forced => context.die(),
        }
    }
}
