//! The agent's keyring, and how each change is made in it: by one call of the kernel's, before which nothing has changed for
//! a reader, and after which only what nobody reads any more is removed.
//!
//! Used by [`super::Persistent`]. Invariant: killed at any point, it leaves the state before the change, or that after it; only when
//! there is no room to note which tickets are removed, they go one by one.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::errno::Errno;

use super::layout::{AGENT, DEFAULT, SERVER, StoredHead, TicketKey};
use super::stored::StoredCache;
use crate::agent::change::{Change, HeldBefore};
use crate::agent::codec::{CacheLabel, CredentialId, HeldCredential, number_of};
use crate::sys::keyctl::{self, PROCESS_KEYRING};
use crate::time::now_32;

/// The agent's keyring and what is in it.
#[derive(Debug)]
pub(super) struct AgentKeyring {
    pub(super) ring: i32,
    /// The key with the token.
    pub(super) server: i32,
    pub(super) default: Option<(i32, CacheLabel)>,
    pub(super) caches: BTreeMap<CacheLabel, StoredCache>,
    /// The next generation of a head.
    pub(super) generation: u64,
    pub(super) kind: TicketKey,
    /// Keys with their keyrings that are to be removed.
    pub(super) leftover: Vec<(i32, i32)>,
    /// When something was last removed.
    pub(super) freed: Option<Instant>,
    /// When a change last found no room: what it had begun to store is freed, too, but not for itself.
    pub(super) failed: Option<Instant>,
}

impl AgentKeyring {
    /// Stores all that is held in a new keyring, which takes the place of the agent's keyring in one step.
    ///
    /// # Errors
    /// The kernel's; nothing is left then.
    pub(super) fn make(
        persistent: i32,
        server: &[u8],
        kind: TicketKey,
        held: HeldBefore<'_>,
    ) -> Result<Self, Errno> {
        let ring = keyctl::add(c"keyring", AGENT, b"", PROCESS_KEYRING)?;
        let made = Self::fill(ring, server, kind, held)
            .and_then(|keyring| keyctl::link(ring, persistent).map(|()| keyring));
        let _ = keyctl::unlink(ring, PROCESS_KEYRING);
        made
    }

    fn fill(ring: i32, server: &[u8], kind: TicketKey, held: HeldBefore<'_>) -> Result<Self, Errno> {
        let server = keyctl::add(c"user", SERVER, server, ring)?;
        let mut keyring = Self {
            ring,
            server,
            default: None,
            caches: BTreeMap::new(),
            generation: 1,
            kind,
            leftover: Vec::new(),
            freed: None,
            failed: None,
        };
        for named @ (label, _) in held.caches {
            let stored = StoredCache::make(named, keyring.generation, kind, ring)?;
            keyring.caches.insert(label.clone(), stored);
        }
        if let Some(default) = held.default {
            keyring.set_default(default)?;
        }
        Ok(keyring)
    }

    /// Makes a change.
    ///
    /// # Errors
    /// The kernel's: nothing has changed then, but that some of the tickets to be removed may be gone. ENOKEY if the cache is not stored.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), Errno> {
        // Who comes after one that found no room may wait for what that had begun to store.
        self.freed = self.freed.max(self.failed.take());
        let changed = self.try_to(change);
        if changed.is_err() {
            self.failed = Some(Instant::now());
        }
        changed
    }

    fn try_to(&mut self, change: &Change) -> Result<(), Errno> {
        self.remove_leftover()?;
        match change {
            Change::PutCache { label, cache } => {
                let generation = self.next_generation();
                let stored = StoredCache::make((label, cache), generation, self.kind, PROCESS_KEYRING)?;
                let linked = keyctl::link(stored.ring, self.ring);
                if unlink(stored.ring, PROCESS_KEYRING).is_err() {
                    self.leftover.push((stored.ring, PROCESS_KEYRING));
                }
                linked?;
                self.name(label, stored);
            }
            Change::RemoveCache { label } => self.remove_cache(label)?,
            Change::MoveCache { from, to } => self.move_cache(from, to)?,
            Change::PutCredential { label, id, credential, replaced } => {
                self.put(label, (*id, credential), replaced)?;
            }
            Change::RemoveCredentials { label, ids } => self.remove_credentials(label, ids)?,
            Change::SetDefault { label } => self.set_default(label)?,
            Change::SetOffset { label, offset } => {
                self.cache(label)?.set_offset(*offset)?;
            }
        }
        Ok(())
    }

    fn cache(&mut self, label: &CacheLabel) -> Result<&mut StoredCache, Errno> {
        self.caches.get_mut(label).ok_or(Errno::ENOKEY)
    }

    fn next_generation(&mut self) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// Gives a stored cache of the greatest generation this name, and removes the one that had it.
    fn name(&mut self, label: &CacheLabel, stored: StoredCache) {
        if let Some(former) = self.caches.insert(label.clone(), stored) {
            self.remove(former.ring, self.ring);
        }
    }

    fn remove_cache(&mut self, label: &CacheLabel) -> Result<(), Errno> {
        let (ring, cache) = (self.ring, self.cache(label)?.ring);
        unlink(cache, ring)?;
        self.freed = Some(Instant::now());
        self.caches.remove(label);
        self.unset_default(label);
        Ok(())
    }

    fn move_cache(&mut self, from: &CacheLabel, to: &CacheLabel) -> Result<(), Errno> {
        let generation = self.next_generation();
        let cache = self.cache(from)?;
        cache.write_head(StoredHead {
            generation,
            label: to.clone(),
            removed: Vec::new(),
            ..cache.head.clone()
        })?;
        if let Some(cache) = self.caches.remove(from) {
            self.name(to, cache);
        }
        self.unset_default(from);
        Ok(())
    }

    fn put(
        &mut self,
        label: &CacheLabel,
        (id, credential): (CredentialId, &HeldCredential),
        replaced: &[CredentialId],
    ) -> Result<(), Errno> {
        let kind = self.kind;
        let replaced: Vec<u64> = replaced.iter().map(|id| number_of(id.0)).collect();
        self.cache(label)?.put((number_of(id.0), credential), &replaced, kind)?;
        self.forget(label, replaced.into_iter());
        Ok(())
    }

    fn remove_credentials(&mut self, label: &CacheLabel, ids: &[CredentialId]) -> Result<(), Errno> {
        let now = now_32();
        let cache = self.cache(label)?;
        let numbers: Vec<u64> = ids.iter().map(|id| number_of(id.0)).collect();
        let lives = |number: &u64| {
            let ends = cache.tickets.get(number).map(|ticket| ticket.end.map(|end| cache.here(end)));
            ends.is_some_and(|end| end.is_none_or(|end| end > now))
        };
        let living: Vec<u64> = numbers.iter().copied().filter(lives).collect();
        // One is removed by one call.
        let mut listed = living.len() > 1;
        if listed {
            match cache.write_head(StoredHead { removed: living.clone(), ..cache.head.clone() }) {
                // Who is short of room must be able to make some: one by one, of which some may be gone if one cannot be removed.
                // The head holds 32,767 bytes.
                Err(Errno::EDQUOT | Errno::EINVAL) => listed = false,
                written => written?,
            }
        }
        if !listed {
            for ticket in living.iter().filter_map(|number| cache.tickets.get(number)) {
                unlink(ticket.keys.first().copied().ok_or(Errno::ENOKEY)?, cache.ring)?;
            }
        }
        self.forget(label, numbers.into_iter());
        if listed && self.leftover.is_empty() {
            // Its room is given back; if not now, then with the next head.
            let cache = self.cache(label)?;
            let _ = cache.write_head(StoredHead { removed: Vec::new(), ..cache.head.clone() });
        }
        Ok(())
    }

    fn set_default(&mut self, label: &CacheLabel) -> Result<(), Errno> {
        let key = keyctl::add(c"user", DEFAULT, label.bytes(), self.ring)?;
        self.default = Some((key, label.clone()));
        Ok(())
    }

    /// If it was this one, there is no default any more: a name without a cache counts for nothing.
    fn unset_default(&mut self, label: &CacheLabel) {
        if let Some((key, _)) = self.default.take_if(|(_, default)| default == label) {
            self.remove(key, self.ring);
        }
    }

    /// Removes the keys of credentials that count no more.
    fn forget(&mut self, label: &CacheLabel, numbers: impl Iterator<Item = u64>) {
        let Some(cache) = self.caches.get_mut(label) else { return };
        let ring = cache.ring;
        let keys: Vec<i32> = numbers
            .filter_map(|number| cache.tickets.remove(&number))
            .flat_map(|ticket| ticket.keys)
            .collect();
        for key in keys {
            self.remove(key, ring);
        }
    }

    /// Removes what counts no more.
    pub(super) fn remove(&mut self, key: i32, ring: i32) {
        self.freed = Some(Instant::now());
        if unlink(key, ring).is_err() {
            self.leftover.push((key, ring));
        }
    }

    /// What counts no more must not count again because of what comes.
    fn remove_leftover(&mut self) -> Result<(), Errno> {
        while let Some(&(key, ring)) = self.leftover.last() {
            unlink(key, ring)?;
            self.leftover.pop();
        }
        Ok(())
    }
}

/// Takes a key out of a keyring. That it is not there is no error.
pub(super) fn unlink(key: i32, ring: i32) -> Result<(), Errno> {
    match keyctl::unlink(key, ring) {
        Err(Errno::ENOENT | Errno::ENOKEY | Errno::EKEYREVOKED | Errno::EKEYEXPIRED) => Ok(()),
        done => done,
    }
}
