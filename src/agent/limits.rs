//! What a user may store, and the words when it is too much.

use super::codec::CacheLabel;
use crate::config::AgentSettings;

/// Largest list of credentials that clients take (MIT's `MAX_REPLY_SIZE`), in bytes.
pub(super) const REPLY_LIMIT: usize = 10 * 1024 * 1024;
/// Largest request that puts a whole cache.
const REPLACEMENT_LIMIT: usize = 10 * 1024 * 1024;
/// What a request has beyond one credential: names, a principal, a pattern.
const BESIDES_CREDENTIAL: usize = 64 * 1024;
/// Most bytes of requests and replies of all connections together.
pub(super) const UNDER_WAY: usize = 32 * 1024 * 1024;
const KIB: usize = 1024;

/// Limits in bytes and numbers, from the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreLimits {
    pub(super) caches: usize,
    pub(super) tickets: usize,
    pub(super) ticket_size: usize,
    pub(super) memory: usize,
}

impl StoreLimits {
    /// Those of the settings.
    pub(super) fn of(settings: &AgentSettings) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            caches: settings.max_caches.into(),
            tickets: size(settings.max_tickets),
            ticket_size: size(settings.max_ticket_size).saturating_mul(KIB),
            memory: size(settings.max_memory).saturating_mul(KIB * KIB),
        }
    }

    /// Most bytes of parameters of a request.
    pub(super) fn request(&self, opcode: super::codec::Opcode) -> usize {
        if opcode == super::codec::Opcode::REPLACE {
            REPLACEMENT_LIMIT
        } else {
            self.ticket_size.saturating_add(BESIDES_CREDENTIAL)
        }
    }
}

/// A limit that a request would exceed. The words name the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitMet {
    #[error(
        "{label} is not made: there are {limit} caches; remove some by kdestroy, or raise agent.max_caches"
    )]
    Caches { label: CacheLabel, limit: usize },
    #[error(
        "{label} takes no more tickets: it has {limit}; remove it by kdestroy, or raise agent.max_tickets"
    )]
    Tickets { label: CacheLabel, limit: usize },
    #[error(
        "{label} does not take a ticket of {size} bytes: {limit} are allowed; raise agent.max_ticket_size"
    )]
    TicketSize { label: CacheLabel, size: usize, limit: usize },
    #[error(
        "{label} takes no more tickets: all caches together have {limit} bytes; remove some by kdestroy, or raise agent.max_memory"
    )]
    Memory { label: CacheLabel, limit: usize },
    #[error("a request of {size} bytes is not read: {limit} are allowed; see agent.max_ticket_size")]
    RequestSize { size: usize, limit: usize },
    #[error(
        "a request of {size} bytes is not read: requests and replies under way take all of {limit} bytes; ask again"
    )]
    UnderWay { size: usize, limit: usize },
}
