//! The keyring of a collection: one of this user's own that lies directly in the keyring it is said to be in, and that nobody
//! else can write or read.
//!
//! The library searches a session keyring through all that is linked to it, so it could find a collection of the same name in
//! the user keyring, which every session of the user shares; and it takes a keyring as somebody has prepared it.
//!
//! Used by `place`, `keeping` and `single_key`.

use std::ffi::{CStr, CString};
use std::thread::sleep;
use std::time::Instant;

use nix::errno::Errno;
use nix::unistd::{geteuid, getuid};

use crate::creds::cache_name::{Anchor, CacheName};
use crate::gss::krb5::Library;
use crate::gss::placing::{FREED_LOOK, FREED_WITHIN};
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::Krb5Error;
use crate::gss::ticket::Cache;
use crate::key::{KeyDescription, POSSESSORS, VISIBLE, is_keyring, keys_in, quota};
use crate::sys::keyctl;

const KEYRING: &CStr = c"keyring";
/// Where a cache is filled before it takes its place: a collection in the process keyring, which ends with this process.
const STAGING: &CStr = c"_krb_lgss_kinit";
const STAGING_CACHE: &str = "KEYRING:process:lgss_kinit:";
/// Those of the keys of a cache.
pub(super) const PRIVATE: u32 = POSSESSORS | VISIBLE;
/// A collection's keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CollectionRing(i32);

impl CollectionRing {
    /// Finds it, or makes it. What others could use of it is removed. None for keyrings that end with this process, and for
    /// another user's.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn prepare(name: &CacheName) -> Result<Option<Self>, Errno> {
        let Some((base, description)) = place_of(name)? else { return Ok(None) };
        let mut own = None;
        for (key, found) in keys_in(base)? {
            let Ok(found) = found else { continue };
            if !is_keyring(&found, &description) {
                continue;
            }
            if is_private(&found) { own = Some(key) } else { keyctl::unlink(key, base)? }
        }
        let ring = own.map_or_else(|| keyctl::add(KEYRING, &description, b"", base), Ok)?;
        for (key, found) in keys_in(ring)? {
            if !found.is_ok_and(|found| is_private(&found)) {
                keyctl::unlink(key, ring)?;
            }
        }
        Ok(Some(Self(ring)))
    }

    /// Puts a complete cache in the place of the one with this name, in one step: whoever looks finds the old one or the new. One
    /// that is reading the old one loses it.
    ///
    /// # Errors
    /// The library's or the kernel's; EDQUOT if there is no room for both.
    pub(super) fn put(self, library: &Library, name: &str, new: &PrivateCache) -> Result<(), Krb5Error> {
        // Its own from the start: it lies nearer than what the process keyring leads to.
        let staging =
            keyctl::add(KEYRING, STAGING, b"", keyctl::PROCESS_KEYRING).map_err(Krb5Error::of_kernel)?;
        let staged = Cache::resolve(library, &format!("{STAGING_CACHE}{name}"))
            .and_then(|cache| cache.replace_by(new))
            .and_then(|()| self.link(staging, name).map_err(Krb5Error::of_kernel));
        // It need not be there until the end of this process.
        let _ = keyctl::unlink(staging, keyctl::PROCESS_KEYRING);
        staged
    }

    fn link(self, staging: i32, name: &str) -> Result<(), Errno> {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let is_it = |found: &KeyDescription| is_keyring(found, &name) && is_private(found);
        let staged = keys_in(staging)?.into_iter().find(|(_, found)| found.as_ref().is_ok_and(is_it));
        keyctl::link(staged.ok_or(Errno::ENOKEY)?.0, self.0)
    }
}

/// Whether what is removed from a cache can surely be put back: the user's quota is not used up, nor overrun, as a process
/// keyring may overrun it. Waits for what the kernel has yet to free.
pub(super) fn has_some_room() -> bool {
    let (start, uid) = (Instant::now(), getuid().as_raw());
    loop {
        let has_room = quota::of(uid).is_none_or(|(keys, bytes)| keys.left() > 0 && bytes.left() > 0);
        if has_room || start.elapsed() > FREED_WITHIN {
            return has_room;
        }
        sleep(FREED_LOOK);
    }
}

/// Unlinks what has ended from a cache of this process, `KEYRING:anchor:collection:cache`. The kernel keeps such keys for
/// minutes, and the library cannot read past one.
pub(super) fn drop_ended(name: &str) {
    let Some(Ok(ring)) = ring_of(name) else { return };
    for (key, found) in keys_in(ring).unwrap_or_default() {
        if matches!(found, Err(Errno::EKEYEXPIRED | Errno::EKEYREVOKED)) {
            // It is of no use to anybody.
            let _ = keyctl::unlink(key, ring);
        }
    }
}

/// Whether the kernel has ended such a cache with its last ticket. It knows that for minutes.
pub(super) fn has_expired(name: &str) -> bool {
    matches!(ring_of(name), Some(Err(Errno::EKEYEXPIRED)))
}

/// The keyring of a cache, or why it cannot be had; none if the name is no cache's.
fn ring_of(name: &str) -> Option<Result<i32, Errno>> {
    let (base, description) = place_of(&name.parse().ok()?).ok().flatten()?;
    let last = CString::new(name.rsplit(':').next().unwrap_or_default()).unwrap_or_default();
    let ring = keyctl::search(base, KEYRING, &description);
    Some(ring.and_then(|ring| keyctl::search(ring, KEYRING, &last)))
}

/// The keyring that the collection lies in, and the collection's description.
fn place_of(name: &CacheName) -> Result<Option<(i32, CString)>, Errno> {
    let CacheName::Keyring { anchor, collection, .. } = name else { return Ok(None) };
    let named = || CString::new(format!("_krb_{collection}")).map_err(|_| Errno::EINVAL);
    Ok(match anchor {
        Anchor::Session | Anchor::User => base(*anchor)?.map(|base| Ok((base, named()?))).transpose()?,
        Anchor::Persistent if *collection == getuid().to_string() => {
            Some((keyctl::own_persistent_keyring(keyctl::PROCESS_KEYRING)?, c"_krb".to_owned()))
        }
        Anchor::Persistent | Anchor::Process | Anchor::Thread => None,
    })
}

/// The session or user keyring by its number, possessed.
///
/// # Errors
/// The kernel's.
pub(super) fn base(anchor: Anchor) -> Result<Option<i32>, Errno> {
    match anchor {
        // To the special id the kernel would add keys in a new session, if this process has none of its own.
        Anchor::Session => keyctl::keyring_id(keyctl::SESSION_KEYRING).map(Some),
        Anchor::User => {
            // A session need not lead to it, and what is in it is its possessor's only.
            keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)?;
            keyctl::keyring_id(keyctl::USER_KEYRING).map(Some)
        }
        Anchor::Persistent | Anchor::Process | Anchor::Thread => Ok(None),
    }
}

/// Whether it is this user's, and all of it its possessor's alone.
fn is_private(key: &KeyDescription) -> bool {
    // The library needs all that the possessor may do.
    key.is_possessors_alone(geteuid().as_raw()) && key.permissions & POSSESSORS == POSSESSORS
}
