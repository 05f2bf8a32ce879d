//! Keys that are made empty and filled later, by a process that may make none any more.
//!
//! Each of the worker's reports replaces the cache, so there are two sets: one may be in use while the other is filled.
//! Invariant: what a reader finds is the former cache or the new one. Keys that were not put into the user keyring are
//! gone with the process.

use std::time::Duration;

use nix::errno::Errno;

use super::failure::TicketKeyFailure;
use super::head::{CacheHead, FIRST_BYTES, PARTS_LIMIT, PAYLOAD_BYTES, parts_for, room_in};
use super::kept::{find, head};
use super::name::{PERMISSIONS, TicketKeyName};
use crate::key::{KeyDescription, KeySerial, keys_in};
use crate::sys::keyctl;

/// How many parts there is room for beside those that are in use. One negotiation adds three tickets at most.
const PARTS_AHEAD: usize = 6;

/// Empty keys for one cache.
#[derive(Debug)]
pub(crate) struct StagedKeys {
    sets: [KeySet; 2],
    /// The set that is in the user keyring.
    in_use: Option<usize>,
    /// Parts of the cache that was there before.
    former: Vec<KeySerial>,
}

/// Keys for a whole cache.
#[derive(Debug)]
struct KeySet {
    /// Where they are until they are in use, so that the kernel keeps them.
    ring: i32,
    first: KeySerial,
    parts: Vec<KeySerial>,
}

impl StagedKeys {
    /// Makes them.
    ///
    /// # Errors
    /// `Quota`, `Kernel`.
    pub(crate) fn make(name: &TicketKeyName) -> Result<Self, TicketKeyFailure> {
        let current = find(name).ok();
        let former = head(name);
        let length = former.as_ref().map_or(0, |head| head.length);
        let parts = (parts_for(length) + PARTS_AHEAD).min(PARTS_LIMIT);
        // First, since they may take the room.
        leave_orphans(name, current);
        let failed = TicketKeyFailure::of("no key can be made");
        // In one keyring the second would displace the first, which has the same name.
        let [one, other] = [keyctl::PROCESS_KEYRING, keyctl::THREAD_KEYRING]
            .map(|ring| KeySet::make(name, parts, ring).map_err(&failed));
        let former = former.map(|head| head.parts).unwrap_or_default();
        Ok(Self { sets: [one?, other?], in_use: None, former })
    }

    /// All of them: keys to be filled, timed, and put into and taken out of the user keyring.
    pub(crate) fn serials(&self) -> impl Iterator<Item = KeySerial> {
        self.sets.iter().flat_map(|set| std::iter::once(set.first).chain(set.parts.iter().copied()))
    }

    /// Keys that are to be taken out of the user keyring once there is a new cache.
    pub(crate) fn former(&self) -> &[KeySerial] {
        &self.former
    }

    /// Puts a cache in the place of the former one, for so long. If that fails, the former one stays.
    ///
    /// # Errors
    /// `TooLarge`, `Quota`, `Kernel`.
    pub(crate) fn store(&mut self, cache: &[u8], life: Duration) -> Result<(), TicketKeyFailure> {
        let [one, other] = &self.sets;
        let (next, set, displaced) = match self.in_use {
            None => (0, one, None),
            Some(0) => (1, other, Some(one)),
            Some(_) => (0, one, Some(other)),
        };
        set.store(cache, life)?;
        let obsolete = self.former.drain(..).chain(displaced.into_iter().flat_map(|set| set.parts.clone()));
        obsolete.for_each(leave);
        self.in_use = Some(next);
        Ok(())
    }
}

impl KeySet {
    fn make(name: &TicketKeyName, parts: usize, ring: i32) -> Result<Self, Errno> {
        let first = stage(name, ring)?;
        let parts =
            (0..parts).map(|number| stage(&name.part(first, number), ring)).collect::<Result<_, _>>()?;
        Ok(Self { ring, first, parts })
    }

    fn store(&self, cache: &[u8], life: Duration) -> Result<(), TicketKeyFailure> {
        let parts = parts_for(cache.len());
        let Some(parts) = self.parts.get(..parts) else {
            return Err(TicketKeyFailure::TooLarge(cache.len(), room_in(self.parts.len())));
        };
        let (first, rest) = cache.split_at(cache.len().min(FIRST_BYTES));
        let stored = rest
            .chunks(PAYLOAD_BYTES)
            .zip(parts)
            .try_for_each(|(content, &part)| enter(part, content, life))
            .and_then(|()| {
                let payload = CacheHead::of(cache, parts.to_vec()).encode(first);
                enter(self.first, payload.as_slice(), life)
            });
        if stored.is_err() {
            parts.iter().copied().for_each(leave);
        }
        stored.map_err(TicketKeyFailure::of("the user keyring does not take them"))
    }
}

impl Drop for KeySet {
    fn drop(&mut self) {
        for key in self.parts.iter().chain([&self.first]) {
            let _ = keyctl::unlink(key.raw(), self.ring);
        }
    }
}

/// Makes a key that nobody else finds. Its payload cannot be empty.
fn stage(name: &TicketKeyName, ring: i32) -> Result<KeySerial, Errno> {
    let key = keyctl::add(c"user", name.as_c_str(), b"-", ring)?;
    keyctl::set_permissions(key, PERMISSIONS)?;
    KeySerial::new(key).ok_or(Errno::EPROTO)
}

/// Fills a key and puts it into the user keyring, in the place of one with the same name. It has its end before anybody
/// can find it.
fn enter(key: KeySerial, content: &[u8], life: Duration) -> Result<(), Errno> {
    keyctl::update(key.raw(), content)?;
    keyctl::set_timeout(key.raw(), life)?;
    keyctl::link(key.raw(), keyctl::USER_KEYRING)
}

/// Takes parts out of the user keyring whose first key is no more: of two that replace a cache at once, the later does not
/// know the parts of the other. The first key of one that is still being filled is there.
fn leave_orphans(name: &TicketKeyName, current: Option<KeySerial>) {
    for (serial, found) in keys_in(keyctl::USER_KEYRING).unwrap_or_default() {
        let (Some(part), Ok(found)) = (KeySerial::new(serial), found) else { continue };
        let Some(first) = name.first_of(&found) else { continue };
        if Some(first) != current && KeyDescription::of(first) == Err(Errno::ENOKEY) {
            leave(part);
        }
    }
}

fn leave(key: KeySerial) {
    let _ = keyctl::unlink(key.raw(), keyctl::USER_KEYRING);
}
