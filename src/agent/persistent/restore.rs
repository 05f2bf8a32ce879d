//! Finds what an agent before this one has stored.
//!
//! Called by [`super::Persistent`]. Invariant: only keys of this user's that nobody else can write are believed, what makes no
//! sense is passed over and told, and what counts no more is removed before anything new is stored.

use std::collections::BTreeMap;

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::keyring::{AgentKeyring, unlink};
use super::layout::{AGENT, DEFAULT, PartName, SERVER, StoredHead, TicketKey, cache_number, joined};
use super::stored::{StoredCache, StoredTicket};
use crate::agent::cache::{HeldCache, here};
use crate::agent::codec::{
    CacheId, CacheLabel, CredentialId, HeldCredential, PrincipalBytes, id_of, number_of,
};
use crate::agent::collections::KeptCaches;
use crate::key::{KeyDescription, is_keyring, keys_in};
use crate::sys::keyctl;
use crate::time::now_32;
use crate::wire::Reader;

/// Longest token, with the first number of its agent.
pub(super) const SERVER_SIZE: usize = 16;
/// Longest name of a cache.
const LABEL_LIMIT: usize = 255;
/// Numbers of an agent begin at a multiple of this, so that those of one that was superseded are others.
const EPOCH: u64 = 1 << 32;

/// Whose caches these are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptOwner {
    pub(crate) uid: u32,
    /// The agent's, which is also the salt of its names.
    pub(crate) token: [u8; 8],
    /// Most bytes that are kept in memory.
    pub(crate) memory: usize,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) keyring: AgentKeyring,
    pub(super) kept: KeptCaches,
    /// What was passed over, and what was dropped, for the log.
    pub(super) remarks: Vec<String>,
}

/// The agent's keyring in a persistent keyring, if it is this user's and nobody else can write it.
pub(super) fn agent_ring(persistent: i32, uid: u32) -> Result<Option<i32>, Errno> {
    let is_it = |key: &KeyDescription| is_keyring(key, AGENT) && key.is_possessors_alone(uid);
    let mut keys = keys_in(persistent)?.into_iter();
    Ok(keys.find(|(_, found)| found.as_ref().is_ok_and(is_it)).map(|(ring, _)| ring))
}

/// The key with the token in the agent's keyring.
pub(super) fn server_key(ring: i32, uid: u32) -> Result<Option<i32>, Errno> {
    let is_it = |key: &KeyDescription| is_user_key(key, SERVER.to_bytes()) && key.is_possessors_alone(uid);
    let mut keys = keys_in(ring)?.into_iter();
    Ok(keys.find(|(_, found)| found.as_ref().is_ok_and(is_it)).map(|(key, _)| key))
}

/// The content of a key with a token: the token, then the first number that is its agent's.
pub(super) fn server_content(token: [u8; 8], first: u64) -> [u8; SERVER_SIZE] {
    let mut content = [0; SERVER_SIZE];
    let (front, back) = content.split_at_mut(8);
    front.copy_from_slice(&token);
    back.copy_from_slice(&first.to_be_bytes());
    content
}

/// Takes over the caches in the agent's keyring: from now on the agent that had them finds another token.
///
/// # Errors
/// The kernel's.
pub(super) fn take_over(ring: i32, owner: KeptOwner, kind: TicketKey) -> Result<Restored, Errno> {
    let first = match server_key(ring, owner.uid)?.map(|key| keyctl::read_at_most(key, SERVER_SIZE)) {
        Some(Ok(content)) => first_number(&content),
        _ => EPOCH,
    };
    // Before anything is read: what that agent has acknowledged until then is read here.
    let server = keyctl::add(c"user", SERVER, &server_content(owner.token, first), ring)?;
    let keyring = AgentKeyring {
        ring,
        server,
        default: None,
        caches: BTreeMap::new(),
        generation: 0,
        kind,
        leftover: Vec::new(),
        freed: None,
        failed: None,
    };
    let kept = KeptCaches { next: first, ..KeptCaches::default() };
    let found = Restored { keyring, kept, remarks: Vec::new() };
    let mut reading = Restoring { owner, room: owner.memory, now: now_32(), found };
    reading.all()?;
    Ok(reading.found)
}

/// The first number of the agent after the one with this content.
fn first_number(content: &[u8]) -> u64 {
    let number = content.last_chunk().map_or(0, |number| u64::from_be_bytes(*number));
    (number / EPOCH + 1).saturating_mul(EPOCH)
}

/// The parts of a credential that were found, by their number, and how many there are to be.
type FoundParts = (usize, BTreeMap<usize, i32>);

struct Restoring {
    owner: KeptOwner,
    /// Bytes that may still be kept in memory.
    room: usize,
    now: u32,
    found: Restored,
}

impl Restoring {
    fn all(&mut self) -> Result<(), Errno> {
        let ring = self.found.keyring.ring;
        let mut default = None;
        for (key, found) in keys_in(ring)? {
            let Some(found) = self.believed(key, found, ring) else { continue };
            if is_user_key(&found, SERVER.to_bytes()) {
                continue;
            }
            if is_user_key(&found, DEFAULT.to_bytes()) {
                default =
                    keyctl::read_at_most(key, LABEL_LIMIT).ok().map(|name| (key, CacheLabel::new(&name)));
            } else if let Some(number) =
                cache_number(&found.description).filter(|_| found.key_type == "keyring")
            {
                self.cache(key, number);
            } else {
                self.pass_over(key, "it is none of the agent's");
            }
        }
        let (keyring, kept) = (&mut self.found.keyring, &mut self.found.kept);
        if let Some((key, label)) = default {
            if kept.caches.contains_key(&label) {
                kept.default = Some(label.clone());
                keyring.default = Some((key, label));
            } else {
                keyring.remove(key, ring);
            }
        }
        Ok(())
    }

    /// A key that may be looked at. One that has ended is removed.
    fn believed(
        &mut self,
        key: i32,
        found: Result<KeyDescription, Errno>,
        ring: i32,
    ) -> Option<KeyDescription> {
        match found {
            Ok(found) if found.is_possessors_alone(self.owner.uid) => Some(found),
            Ok(found) => {
                self.pass_over(
                    key,
                    &format!("others may use it: uid {}, {:#x}", found.uid, found.permissions),
                );
                None
            }
            Err(Errno::EKEYEXPIRED | Errno::EKEYREVOKED | Errno::ENOKEY) => {
                let _ = unlink(key, ring);
                None
            }
            Err(errno) => {
                self.pass_over(key, errno.desc());
                None
            }
        }
    }

    fn pass_over(&mut self, key: i32, why: &str) {
        self.found.remarks.push(format!("key {key} in the persistent keyring is passed over: {why}"));
    }

    /// One cache.
    fn cache(&mut self, ring: i32, number: u64) {
        let Ok(keys) = keys_in(ring) else { return self.pass_over(ring, "it cannot be read") };
        let mut head = None;
        let mut parts: BTreeMap<u64, FoundParts> = BTreeMap::new();
        for (key, found) in keys {
            let Some(found) = self.believed(key, found, ring) else { continue };
            match PartName::read(&found.description) {
                Some(PartName::Head) if found.key_type == "user" => head = Some(key),
                Some(PartName::Ticket { number, part, parts: count })
                    if [TicketKey::User, TicketKey::Big].iter().any(|kind| is_of(&found, *kind)) =>
                {
                    let (all, known) = parts.entry(number).or_insert((count, BTreeMap::new()));
                    if *all == count && !known.contains_key(&part) {
                        known.insert(part, key);
                    } else {
                        self.pass_over(key, "it is the second of its name");
                    }
                }
                _ => self.pass_over(key, "it is none of the agent's"),
            }
        }
        let Some(head_key) = head else { return self.pass_over(ring, "a cache without head") };
        let head = keyctl::read_at_most(head_key, TicketKey::User.limit());
        let Some(head) = head.ok().and_then(|bytes| StoredHead::read(&bytes).ok()) else {
            return self.pass_over(ring, "its head is damaged, or of another version");
        };
        if head.end != 0 && here(head.end, head.offset) <= self.now {
            self.found.remarks.push(format!("{} is dropped: its tickets have expired", head.label));
            return self.found.keyring.remove(ring, self.found.keyring.ring);
        }
        let stored = StoredCache { ring, head_key, head, tickets: BTreeMap::new() };
        self.tickets(number, stored, parts);
    }

    fn tickets(&mut self, number: u64, mut stored: StoredCache, parts: BTreeMap<u64, FoundParts>) {
        let id = CacheId(id_of(number, self.owner.token));
        let Ok(principal) = PrincipalBytes::read(&mut Reader::new(&stored.head.principal)) else { return };
        let mut cache = HeldCache::new(id, principal, self.now);
        cache.set_offset(stored.head.offset);
        for (number, (count, parts)) in parts {
            let keys: Vec<i32> = parts.into_values().collect();
            // The first part comes last, so that the others are waste without it.
            if keys.len() < count || stored.head.removed.contains(&number) {
                self.waste(keys, stored.ring);
                continue;
            }
            let contents: Result<Vec<Zeroizing<Vec<u8>>>, Errno> =
                keys.iter().map(|key| keyctl::read(*key)).collect();
            let Some(credential) = contents.ok().and_then(|contents| joined(&contents).ok()) else {
                self.pass_over(keys.first().copied().unwrap_or(0), "it is no credential");
                continue;
            };
            let end = credential.end();
            if end.is_some_and(|end| cache.here(end) <= self.now) {
                self.waste(keys, stored.ring);
                continue;
            }
            let former = cache.duplicate_of(&credential);
            let freed = former.and_then(|id| cache.credential(id)).map_or(0, HeldCredential::cost);
            let Some(room) = self.room.saturating_add(freed).checked_sub(credential.cost()) else {
                self.pass_over(keys.first().copied().unwrap_or(0), "agent.max_memory is reached");
                continue;
            };
            self.room = room;
            if let Some(former) = former.and_then(|id| stored.tickets.remove(&number_of(id.0))) {
                self.waste(former.keys, stored.ring);
            }
            for key in &keys {
                let _ = stored.end_in_time(*key, end);
            }
            let ticket = StoredTicket { keys, end, identity: *credential.identity() };
            cache.put(CredentialId(id_of(number, self.owner.token)), credential, self.now);
            stored.tickets.insert(number, ticket);
        }
        self.keep(cache, stored);
    }

    /// Of two caches with one name that with the greater generation.
    fn keep(&mut self, cache: HeldCache, stored: StoredCache) {
        let (keyring, kept) = (&mut self.found.keyring, &mut self.found.kept);
        keyring.generation = keyring.generation.max(stored.head.generation);
        let label = stored.head.label.clone();
        if keyring.caches.get(&label).is_some_and(|other| other.head.generation > stored.head.generation) {
            keyring.remove(stored.ring, keyring.ring);
            return;
        }
        if let Some(former) = keyring.caches.insert(label.clone(), stored) {
            keyring.remove(former.ring, keyring.ring);
        }
        kept.caches.insert(label, cache);
    }

    fn waste(&mut self, keys: Vec<i32>, ring: i32) {
        for key in keys {
            self.found.keyring.remove(key, ring);
        }
    }
}

fn is_user_key(key: &KeyDescription, description: &[u8]) -> bool {
    is_of(key, TicketKey::User) && key.description == description
}

fn is_of(key: &KeyDescription, kind: TicketKey) -> bool {
    key.key_type.as_bytes() == kind.name().to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_others_cannot_use_is_believed() {
        let key = |uid, permissions| KeyDescription {
            key_type: "user".to_owned(),
            uid,
            gid: 0,
            permissions,
            description: Vec::new(),
        };
        assert!(
            key(1000, 0x3f01_0000).is_possessors_alone(1000)
                && key(1000, 0x3b00_0000).is_possessors_alone(1000)
        );
        for (uid, permissions) in
            [(1001, 0x3f01_0000), (1000, 0x3f03_0000), (1000, 0x3f01_0100), (1000, 0x3f01_0001)]
        {
            assert!(!key(uid, permissions).is_possessors_alone(1000), "{uid} {permissions:#x}");
        }
    }

    #[test]
    fn each_agent_begins_with_numbers_that_no_agent_before_has_used() {
        assert_eq!(first_number(&server_content([1; 8], 0)), EPOCH);
        assert_eq!(first_number(&server_content([1; 8], 5 * EPOCH)), 6 * EPOCH);
        assert_eq!(first_number(b"x"), EPOCH);
        assert_eq!(first_number(&server_content([1; 8], u64::MAX)), u64::MAX / EPOCH * EPOCH + (EPOCH - 1));
    }
}
