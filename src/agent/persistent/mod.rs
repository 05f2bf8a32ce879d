//! Caches in the user's persistent keyring, which outlives the agent.
//!
//! Used by start.rs, and through [`Storage`] by all that changes caches. Invariant: a change is in the keyring before it is
//! acknowledged, as a whole, and of several agents of a user one acknowledges changes: the one whose token is there.

mod figures;
#[cfg(feature = "test-programs")]
pub(super) mod fuzz;
mod keyring;
mod layout;
mod restore;
mod stored;

use std::time::{Duration, Instant};

use nix::errno::Errno;

use self::figures::KeyFigures;
use self::keyring::AgentKeyring;
use self::layout::TicketKey;
pub(super) use self::restore::KeptOwner;
use super::change::{Change, HeldBefore, Storage, StorageError};
use super::collections::KeptCaches;
use crate::sys::keyctl::{self, PROCESS_KEYRING};

/// How long the kernel may take to free the room of removed keys.
const FREED_WITHIN: Duration = Duration::from_secs(3);
/// The longest pause between two uses of the persistent keyring.
const USED_WITHIN: Duration = Duration::from_secs(3600);

/// What the storage needs of the system before the process is confined.
#[derive(Debug)]
pub(super) struct Prepared(KeyFigures);

impl Prepared {
    /// Opens files in /proc.
    pub(super) fn open() -> Self {
        Self(KeyFigures::open())
    }
}

/// The persistent keyring of this process's user.
#[derive(Debug)]
pub(super) struct Persistent {
    owner: KeptOwner,
    first: u64,
    kind: TicketKey,
    figures: KeyFigures,
    /// None before the first change, or if somebody has removed it.
    keyring: Option<AgentKeyring>,
    /// The pause between two uses, and when the next is due.
    used: (Duration, Instant),
}

/// What an agent before this one has left.
#[derive(Debug)]
pub(super) struct FoundStorage {
    pub(super) storage: Persistent,
    pub(super) kept: KeptCaches,
    /// For the log.
    pub(super) remarks: Vec<String>,
}

impl Persistent {
    /// Takes over what there is.
    ///
    /// # Errors
    /// [`StorageError`] if there is no persistent keyring, or no room to use it.
    pub(super) fn open(Prepared(figures): Prepared, owner: KeptOwner) -> Result<FoundStorage, StorageError> {
        let pause = (figures.expiry() / 4).clamp(Duration::from_secs(1), USED_WITHIN);
        let used = (pause, Instant::now() + pause);
        let mut storage = Self { owner, first: 0, kind: TicketKey::User, figures, keyring: None, used };
        let restored = storage.find().map_err(|errno| storage.refused(errno))?;
        let Some(found) = restored else {
            return Ok(FoundStorage { storage, kept: KeptCaches::default(), remarks: Vec::new() });
        };
        storage.first = found.kept.next;
        storage.keyring = Some(found.keyring);
        Ok(FoundStorage { storage, kept: found.kept, remarks: found.remarks })
    }

    fn find(&mut self) -> Result<Option<restore::Restored>, Errno> {
        let persistent = keyctl::own_persistent_keyring(PROCESS_KEYRING)?;
        self.kind = kind_of_keys();
        let ring = restore::agent_ring(persistent, self.owner.uid)?;
        ring.map(|ring| restore::take_over(ring, self.owner, self.kind)).transpose()
    }

    /// Makes the change, and makes sure that this agent is still the one that may.
    fn try_to(&mut self, change: &Change) -> Result<(), Errno> {
        let Some(keyring) = &mut self.keyring else { return Err(Errno::ENOKEY) };
        has_token(keyring.server, self.owner.token)?;
        keyring.change(change)?;
        // Whoever took over meanwhile may not have seen it.
        has_token(keyring.server, self.owner.token)
    }

    /// Stores everything anew where the keyring is gone.
    fn store_all(&mut self, before: HeldBefore<'_>) -> Result<(), Errno> {
        self.keyring = None;
        let persistent = keyctl::own_persistent_keyring(PROCESS_KEYRING)?;
        if self.somebody_elses(persistent)? {
            return Err(SUPERSEDED);
        }
        let server = restore::server_content(self.owner.token, self.first);
        self.keyring = Some(AgentKeyring::make(persistent, &server, self.kind, before)?);
        Ok(())
    }

    /// Whether another agent has an agent's keyring there.
    fn somebody_elses(&self, persistent: i32) -> Result<bool, Errno> {
        let Some(ring) = restore::agent_ring(persistent, self.owner.uid)? else { return Ok(false) };
        let Some(server) = restore::server_key(ring, self.owner.uid)? else { return Ok(false) };
        Ok(has_token(server, self.owner.token) == Err(SUPERSEDED))
    }

    fn refused(&self, errno: Errno) -> StorageError {
        match errno {
            SUPERSEDED => StorageError::Superseded,
            Errno::EDQUOT => StorageError::Quota(self.figures.remedy(self.owner.uid)),
            errno => StorageError::Kernel(errno),
        }
    }
}

impl Storage for Persistent {
    fn record(&mut self, change: &Change, before: HeldBefore<'_>) -> Result<(), StorageError> {
        let recorded = match self.try_to(change) {
            Err(Errno::ENOKEY | Errno::EKEYREVOKED | Errno::EKEYEXPIRED | Errno::EACCES) => {
                self.store_all(before).and_then(|()| self.try_to(change))
            }
            done => done,
        };
        recorded.map_err(|errno| self.refused(errno))
    }

    fn survives(&self) -> bool {
        true
    }

    fn frees_room(&self, now: Instant) -> bool {
        let freed = self.keyring.as_ref().and_then(|keyring| keyring.freed);
        freed.is_some_and(|freed| now.saturating_duration_since(freed) < FREED_WITHIN)
    }

    fn is_superseded(&self) -> bool {
        match &self.keyring {
            Some(keyring) => has_token(keyring.server, self.owner.token) == Err(SUPERSEDED),
            None => {
                let persistent = keyctl::own_persistent_keyring(PROCESS_KEYRING);
                persistent.and_then(|persistent| self.somebody_elses(persistent)).unwrap_or(false)
            }
        }
    }

    fn tend(&mut self, now: Instant) -> Option<Instant> {
        let (pause, due) = self.used;
        if now < due {
            return Some(due);
        }
        self.used = (pause, now + pause);
        // Asking for it is using it. If it is gone, the next change finds that.
        let _ = keyctl::own_persistent_keyring(PROCESS_KEYRING);
        Some(now + pause)
    }
}

/// Says that the token is another agent's: no call that is made here has this error.
const SUPERSEDED: Errno = Errno::EOWNERDEAD;

fn has_token(server: i32, token: [u8; 8]) -> Result<(), Errno> {
    let content = keyctl::read_at_most(server, restore::SERVER_SIZE)?;
    if content.starts_with(&token) { Ok(()) } else { Err(SUPERSEDED) }
}

/// The largest type of key that the kernel has.
fn kind_of_keys() -> TicketKey {
    let probe = keyctl::add(TicketKey::Big.name(), c"_lgss_agent", b"x", PROCESS_KEYRING);
    match probe {
        Ok(key) => {
            let _ = keyctl::unlink(key, PROCESS_KEYRING);
            TicketKey::Big
        }
        Err(_) => TicketKey::User,
    }
}

#[cfg(test)]
mod tests;
