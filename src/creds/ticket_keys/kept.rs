//! Tickets that are in keys: found, read, dropped.

#[cfg(any(feature = "tools", test))]
use std::path::Path;

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::failure::TicketKeyFailure;
use super::head::{CacheHead, PAYLOAD_BYTES, parts_for, room_in};
use super::name::TicketKeyName;
#[cfg(any(feature = "tools", test))]
use super::name::is_our_own;
use crate::key::KeySerial;
#[cfg(any(feature = "tools", test))]
use crate::key::{LinkedKey, keys_in};
use crate::sys::keyctl;

/// How often a cache is read that is being replaced meanwhile.
const TRIES: usize = 3;

/// Whether there are tickets under this name. Two system calls, since the front asks, too.
pub(crate) fn is_there(name: &TicketKeyName) -> bool {
    whole(|| find(name)).is_ok()
}

/// Reads a cache.
///
/// # Errors
/// `Absent`, `Foreign`, `Damaged`, `Kernel`.
pub(crate) fn read(name: &TicketKeyName) -> Result<Zeroizing<Vec<u8>>, TicketKeyFailure> {
    whole(|| read_once(name))
}

/// Looks again where something was missing, which may have been replaced meanwhile.
fn whole<T>(look: impl Fn() -> Result<T, TicketKeyFailure>) -> Result<T, TicketKeyFailure> {
    let mut found = look();
    for _ in 1..TRIES {
        match found {
            Err(TicketKeyFailure::Damaged) => found = look(),
            found => return found,
        }
    }
    found
}

fn read_once(name: &TicketKeyName) -> Result<Zeroizing<Vec<u8>>, TicketKeyFailure> {
    let (key, payload) = first(name)?;
    let (head, first) = CacheHead::decode(&payload).ok_or(TicketKeyFailure::Damaged)?;
    if head.length > room_in(head.parts.len()) || parts_for(head.length) != head.parts.len() {
        return Err(TicketKeyFailure::Damaged);
    }
    let mut cache = Zeroizing::new(Vec::with_capacity(head.length.max(first.len())));
    cache.extend_from_slice(first);
    for (number, &part) in head.parts.iter().enumerate() {
        if name.part(key, number).is_of_our_own(part) != Ok(true) {
            return Err(TicketKeyFailure::Damaged);
        }
        let payload =
            keyctl::read_at_most(part.raw(), PAYLOAD_BYTES).map_err(|_| TicketKeyFailure::Damaged)?;
        if cache.len() + payload.len() > head.length {
            return Err(TicketKeyFailure::Damaged);
        }
        cache.extend_from_slice(&payload);
    }
    if head.is_of(&cache) { Ok(cache) } else { Err(TicketKeyFailure::Damaged) }
}

/// What the first key says of the cache that is kept; `None` if none is.
pub(super) fn head(name: &TicketKeyName) -> Option<CacheHead> {
    let (_, payload) = whole(|| first(name)).ok()?;
    CacheHead::decode(&payload).map(|(head, _)| head)
}

/// The first key and its payload.
fn first(name: &TicketKeyName) -> Result<(KeySerial, Zeroizing<Vec<u8>>), TicketKeyFailure> {
    let key = find(name)?;
    let payload = keyctl::read_at_most(key.raw(), PAYLOAD_BYTES).map_err(|_| TicketKeyFailure::Damaged)?;
    Ok((key, payload))
}

pub(super) fn find(name: &TicketKeyName) -> Result<KeySerial, TicketKeyFailure> {
    let found = keyctl::search(keyctl::USER_KEYRING, c"user", name.as_c_str()).map_err(unfound)?;
    let key = KeySerial::new(found).ok_or(TicketKeyFailure::Absent)?;
    match name.is_of_our_own(key) {
        Ok(true) => Ok(key),
        Ok(false) | Err(Errno::EACCES) => Err(TicketKeyFailure::Foreign),
        // It has gone since.
        Err(_) => Err(TicketKeyFailure::Damaged),
    }
}

fn unfound(errno: Errno) -> TicketKeyFailure {
    match errno {
        Errno::ENOKEY | Errno::EKEYEXPIRED | Errno::EKEYREVOKED => TicketKeyFailure::Absent,
        // Its owner lets nobody find it.
        Errno::EACCES => TicketKeyFailure::Foreign,
        errno => TicketKeyFailure::of("the user keyring cannot be searched")(errno),
    }
}

/// A key in the user keyring that has the name of one for a file in a directory.
#[cfg(any(feature = "tools", test))]
#[derive(Debug)]
pub(crate) struct KeptKey {
    /// Its number.
    pub(crate) serial: KeySerial,
    /// Whether it is the first one of a cache of ours; else it is a part, or somebody else's.
    pub(crate) is_cache: bool,
    is_ours: bool,
}

/// All keys that have the name of one for a file in this directory.
///
/// # Errors
/// The kernel's, for the user keyring.
#[cfg(any(feature = "tools", test))]
pub(crate) fn kept_below(directory: &Path) -> Result<Vec<KeptKey>, Errno> {
    let Some(below) = TicketKeyName::of(&directory.join("")) else { return Ok(Vec::new()) };
    let of = |(serial, found): LinkedKey| {
        let (serial, found) = (KeySerial::new(serial)?, found.ok()?);
        let rest = found.description.strip_prefix(below.as_c_str().to_bytes())?;
        let is_ours = is_our_own(&found);
        Some(KeptKey { serial, is_cache: is_ours && !rest.contains(&b':'), is_ours })
    };
    Ok(keys_in(keyctl::USER_KEYRING)?.into_iter().filter_map(of).collect())
}

#[cfg(any(feature = "tools", test))]
impl KeptKey {
    /// Takes it out of the keyring, and ends it for everybody if it is ours.
    ///
    /// # Errors
    /// The kernel's; none for a key that has gone meanwhile.
    pub(crate) fn drop_it(&self) -> Result<(), Errno> {
        let unlinked = keyctl::unlink(self.serial.raw(), keyctl::USER_KEYRING);
        if self.is_ours {
            let _ = keyctl::invalidate(self.serial.raw());
        }
        match unlinked {
            Err(Errno::ENOKEY | Errno::ENOENT) => Ok(()),
            done => done,
        }
    }
}
