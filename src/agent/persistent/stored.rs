//! One stored cache: a keyring with a head and the keys of its credentials.
//!
//! Used by keyring.rs. Invariant: a credential is complete once its first part is linked, and all that is written before that
//! changes nothing for a reader.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use super::layout::{HEAD, StoredHead, TicketKey, cache_name, keys_of};
use crate::agent::cache::{HeldCache, here};
use crate::agent::codec::{CacheLabel, HeldCredential, number_of};
use crate::sys::keyctl;
use crate::time::now_32;

/// A stored cache.
#[derive(Debug)]
pub(super) struct StoredCache {
    /// Its keyring.
    pub(super) ring: i32,
    /// The key of the head.
    pub(super) head_key: i32,
    /// What that says.
    pub(super) head: StoredHead,
    /// By number.
    pub(super) tickets: BTreeMap<u64, StoredTicket>,
}

/// A stored credential.
#[derive(Debug)]
pub(super) struct StoredTicket {
    /// The first part first.
    pub(super) keys: Vec<i32>,
    /// When it ends, in seconds since the epoch by the KDC's clock; `None` for a setting of the cache.
    pub(super) end: Option<u32>,
    /// Whose place it takes ([`HeldCredential::identity`]).
    pub(super) identity: [u8; 32],
}

impl StoredCache {
    /// Stores a whole cache in a new keyring, which is linked to this one.
    ///
    /// # Errors
    /// The kernel's; nothing is left then.
    pub(super) fn make(
        (label, cache): (&CacheLabel, &HeldCache),
        generation: u64,
        kind: TicketKey,
        into: i32,
    ) -> Result<Self, Errno> {
        let ring = keyctl::add(c"keyring", &cache_name(number_of(cache.id().0)), b"", into)?;
        let head = StoredHead {
            generation,
            end: cache.credentials().filter_map(|(_, credential)| credential.end()).max().unwrap_or(0),
            offset: cache.offset(),
            principal: cache.principal().to_vec(),
            label: label.clone(),
            removed: Vec::new(),
        };
        let filled = || -> Result<Self, Errno> {
            let head_key = keyctl::add(c"user", HEAD, head.written().as_slice(), ring)?;
            let mut made = Self { ring, head_key, head, tickets: BTreeMap::new() };
            for (id, credential) in cache.credentials() {
                made.add(number_of(id.0), credential, kind)?;
            }
            Ok(made)
        };
        filled().inspect_err(|_| {
            let _ = keyctl::unlink(ring, into);
        })
    }

    /// Stores a credential in the place of others, whose keys remain for the caller to remove.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then.
    pub(super) fn put(
        &mut self,
        (number, credential): (u64, &HeldCredential),
        replaced: &[u64],
        kind: TicketKey,
    ) -> Result<(), Errno> {
        let end = credential.end().unwrap_or(0).max(self.head.end);
        // Of two that are duplicates the later one counts, so that the others need not be named.
        let is_other = |number: &&u64| {
            self.tickets.get(number).is_some_and(|ticket| ticket.identity != *credential.identity())
        };
        let others: Vec<u64> = replaced.iter().filter(is_other).copied().collect();
        // The head is first, so that no ticket outlives what it says.
        if others.is_empty() {
            if end > self.head.end {
                self.write_head(StoredHead { end, removed: Vec::new(), ..self.head.clone() })?;
            }
            return self.add(number, credential, kind);
        }
        // Until the head says otherwise, the new one does not count; from then on, the others do not.
        self.write_head(StoredHead { end, removed: vec![number], ..self.head.clone() })?;
        self.add(number, credential, kind)?;
        let counted = self.write_head(StoredHead { removed: others, ..self.head.clone() });
        counted.inspect_err(|_| {
            let added = self.tickets.remove(&number);
            for key in added.into_iter().flat_map(|ticket| ticket.keys) {
                let _ = keyctl::unlink(key, self.ring);
            }
        })
    }

    /// Notes another difference of the KDC's clock. Keys that are to live longer by it do; none ends earlier, since the next
    /// difference may be another.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then. ENOKEY if tickets that have not ended by it are gone.
    pub(super) fn set_offset(&mut self, offset: u32) -> Result<(), Errno> {
        let former = self.head.offset;
        self.write_head(StoredHead { offset, removed: Vec::new(), ..self.head.clone() })?;
        for ticket in self.tickets.values() {
            let Some(end) = ticket.end.filter(|end| self.here(*end) > here(*end, former)) else { continue };
            for key in &ticket.keys {
                // What the kernel has ended comes not back: all is stored anew.
                let is_over = self.end_in_time(*key, ticket.end) == Err(Errno::EKEYEXPIRED);
                if is_over && self.here(end) > now_32() {
                    return Err(Errno::ENOKEY);
                }
            }
        }
        Ok(())
    }

    /// A time by the KDC's clock, by this machine's.
    pub(super) fn here(&self, time: u32) -> u32 {
        here(time, self.head.offset)
    }

    /// Has the kernel end a key with its ticket, by the later of both clocks: a difference that is wrong ends no key. An agent that
    /// starts later tries it again.
    ///
    /// # Errors
    /// The kernel's: EKEYEXPIRED if it has ended.
    pub(super) fn end_in_time(&self, key: i32, end: Option<u32>) -> Result<(), Errno> {
        let Some(end) = end else { return Ok(()) };
        let left = u64::from(self.here(end).max(end).saturating_sub(now_32())).max(1);
        keyctl::set_timeout(key, Duration::from_secs(left))
    }

    fn add(&mut self, number: u64, credential: &HeldCredential, kind: TicketKey) -> Result<(), Errno> {
        let end = credential.end();
        let mut keys = Vec::new();
        for (name, piece) in keys_of(number, credential, kind.limit()) {
            match keyctl::add(kind.name(), &name, piece, self.ring) {
                Ok(key) => {
                    let _ = self.end_in_time(key, end);
                    keys.push(key);
                }
                Err(errno) => {
                    for key in keys {
                        let _ = keyctl::unlink(key, self.ring);
                    }
                    return Err(errno);
                }
            }
        }
        keys.reverse();
        self.tickets.insert(number, StoredTicket { keys, end, identity: *credential.identity() });
        Ok(())
    }

    /// Replaces the head, in one step.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then.
    pub(super) fn write_head(&mut self, head: StoredHead) -> Result<(), Errno> {
        // Of this name there is one key in a keyring: it is updated, which KEYCTL_UPDATE does with a page at most.
        let key = keyctl::add(c"user", HEAD, head.written().as_slice(), self.ring)?;
        if key != self.head_key {
            // Somebody has taken the former away, and who knows what else: the cache is no longer stored.
            let _ = keyctl::unlink(key, self.ring);
            return Err(Errno::ENOKEY);
        }
        self.head = head;
        Ok(())
    }
}
