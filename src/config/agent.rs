//! Settings of `lgss_agent`.

use serde::{Deserialize, Serialize};

use super::duration::Seconds;
use crate::class::classes;

/// Smallest value of `max_ticket_size`, in KiB: tickets with the groups of a Windows user have up to 64 KiB.
const LEAST_TICKET_SIZE: u32 = 16;
/// Most tickets of a cache in the persistent keyring: all may be removed at once, and a key of 32 KiB says which.
const GREATEST_STORED: u32 = 4000;
/// Largest value of `max_ticket_size`, in KiB: no reply has more than 10 MiB.
const GREATEST_TICKET_SIZE: u32 = 4096;

/// How a user's credential cache server keeps caches, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Where caches are kept.
    pub storage: AgentStorage,
    /// Who shares a collection of caches.
    pub scope: AgentScope,
    /// Whether ticket-granting tickets are renewed at half of their lives.
    pub renew: bool,
    /// Most caches.
    pub max_caches: u16,
    /// Most credentials in a cache.
    pub max_tickets: u32,
    /// Largest credential, in KiB.
    pub max_ticket_size: u32,
    /// Memory of all credentials, in MiB.
    pub max_memory: u32,
    /// Time without requests after which a connection is closed, and a server without caches ends.
    pub idle: Seconds,
}

classes!(AgentSettings {
    storage: public,
    scope: public,
    renew: public,
    max_caches: public,
    max_tickets: public,
    max_ticket_size: public,
    max_memory: public,
    idle: public,
});

/// Where caches are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStorage {
    /// In the server's memory: they end with it.
    #[default]
    Memory,
    /// In the user's persistent keyring as well.
    Keyring,
}

/// Who shares a collection of caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentScope {
    /// All processes of the user.
    #[default]
    User,
    /// Those of one login session.
    Session,
}

impl AgentSettings {
    /// The mistake in these settings, if there is one.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if self.storage == AgentStorage::Keyring && self.scope == AgentScope::Session {
            Some(
                "agent.scope = \"session\" needs agent.storage = \"memory\": every session of a user can read the persistent keyring",
            )
        } else if self.max_caches == 0 {
            Some("agent.max_caches must not be zero")
        } else if self.max_tickets == 0 {
            Some("agent.max_tickets must not be zero")
        } else if self.storage == AgentStorage::Keyring && self.max_tickets > GREATEST_STORED {
            Some("agent.max_tickets must not be above 4000 with agent.storage = \"keyring\"")
        } else if self.max_memory == 0 {
            Some("agent.max_memory must not be zero")
        } else if !(LEAST_TICKET_SIZE..=GREATEST_TICKET_SIZE).contains(&self.max_ticket_size) {
            Some("agent.max_ticket_size must be from 16 to 4096 (KiB)")
        } else {
            None
        }
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            storage: AgentStorage::Memory,
            scope: AgentScope::User,
            renew: true,
            max_caches: 64,
            max_tickets: 2000,
            max_ticket_size: 256,
            max_memory: 64,
            idle: Seconds::of(600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_in_the_keyring_is_a_mistake() {
        let with = |storage, scope, max_tickets| {
            AgentSettings { storage, scope, max_tickets, ..AgentSettings::default() }.mistake().is_some()
        };
        assert!(!with(AgentStorage::Keyring, AgentScope::User, 4000));
        assert!(with(AgentStorage::Keyring, AgentScope::User, 4001));
        assert!(with(AgentStorage::Keyring, AgentScope::Session, 4000));
        assert!(!with(AgentStorage::Memory, AgentScope::Session, 4001));
    }
}
