//! The keyring of a collection: one of this user's own that lies directly in the keyring it is said to be in, and that nobody
//! else can write or read.
//!
//! The library searches a session keyring through all that is linked to it, so it could find a collection of the same name in
//! the user keyring, which every session of the user shares; and it takes a keyring as somebody has prepared it.

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::unistd::{geteuid, getuid};

use crate::creds::cache_name::{Anchor, CacheName};
use crate::gss::krb5::Library;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::Krb5Error;
use crate::gss::ticket::Cache;
use crate::key::KeyDescription;
use crate::sys::keyctl;

const KEYRING: &CStr = c"keyring";
/// Where a cache is filled before it takes its place.
const STAGING: &CStr = c"_krb_lgss_kinit";
const STAGING_CACHE: &str = "KEYRING:process:lgss_kinit:";
/// All rights but the possessor's, and the user's to see that a key exists.
const SHARED_RIGHTS: u32 = 0x00fe_ffff;

/// A collection's keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CollectionRing(i32);

impl CollectionRing {
    /// Finds it, or makes it. What others could use of it is removed. None for keyrings that end with this process, for
    /// another user's, and for the oldest form of names.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn prepare(name: &CacheName) -> Result<Option<Self>, Errno> {
        let Some((base, description)) = place_of(name)? else { return Ok(None) };
        let mut own = None;
        for (key, found) in described(base)? {
            if found.key_type != "keyring" || found.description != description.to_bytes() {
                continue;
            }
            if is_private(&found) { own = Some(key) } else { keyctl::unlink(key, base)? }
        }
        let ring = own.map_or_else(|| keyctl::add(KEYRING, &description, b"", base), Ok)?;
        for (key, found) in described(ring)? {
            if !is_private(&found) {
                keyctl::unlink(key, ring)?;
            }
        }
        Ok(Some(Self(ring)))
    }

    /// Puts a complete cache in the place of the one with this name, in one step: whoever looks finds the old one or the new.
    ///
    /// # Errors
    /// The library's or the kernel's; EDQUOT if there is no room for both.
    pub(super) fn put(self, library: &Library, name: &str, new: &PrivateCache) -> Result<(), Krb5Error> {
        let staged = Cache::resolve(library, &format!("{STAGING_CACHE}{name}"))?;
        let linked = staged.replace_by(new).and_then(|()| self.link(name).map_err(of_kernel));
        if linked.is_err() {
            staged.destroy();
        }
        linked
    }

    fn link(self, name: &str) -> Result<(), Errno> {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let staging = keyctl::search(keyctl::PROCESS_KEYRING, KEYRING, STAGING)?;
        keyctl::link(keyctl::search(staging, KEYRING, &name)?, self.0)
    }
}

/// Unlinks what has ended from a cache of this process, `KEYRING:anchor:collection:cache`. The kernel keeps such keys for
/// minutes, and the library cannot read past one.
pub(super) fn drop_ended(name: &str) {
    let Ok(Some((base, description))) = name.parse().map_or(Ok(None), |name| place_of(&name)) else { return };
    let last = CString::new(name.rsplit(':').next().unwrap_or_default()).unwrap_or_default();
    let ring =
        keyctl::search(base, KEYRING, &description).and_then(|ring| keyctl::search(ring, KEYRING, &last));
    let Ok(ring) = ring else { return };
    for key in keyctl::links(ring).unwrap_or_default() {
        if matches!(keyctl::describe(key), Err(Errno::EKEYEXPIRED | Errno::EKEYREVOKED)) {
            // It is of no use to anybody.
            let _ = keyctl::unlink(key, ring);
        }
    }
}

fn of_kernel(errno: Errno) -> Krb5Error {
    Krb5Error { code: errno as i32, message: errno.desc().to_owned() }
}

/// The keyring that the collection lies in, and the collection's description.
fn place_of(name: &CacheName) -> Result<Option<(i32, CString)>, Errno> {
    let CacheName::Keyring { anchor, residual, collection } = name else { return Ok(None) };
    let named = |prefix: &str| CString::new(format!("{prefix}{collection}")).map_err(|_| Errno::EINVAL);
    Ok(match anchor {
        // The oldest form has no anchor.
        Anchor::Session if residual.contains(':') => Some((keyctl::SESSION_KEYRING, named("_krb_")?)),
        Anchor::User => {
            // A session need not lead to it, and what is in it is its possessor's only.
            keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)?;
            Some((keyctl::USER_KEYRING, named("_krb_")?))
        }
        Anchor::Persistent if *collection == getuid().to_string() => {
            Some((keyctl::own_persistent_keyring(keyctl::PROCESS_KEYRING)?, c"_krb".to_owned()))
        }
        Anchor::Session | Anchor::Persistent | Anchor::Process | Anchor::Thread => None,
    })
}

/// The keys that lie directly in a keyring, as far as they can be looked at.
fn described(ring: i32) -> Result<Vec<(i32, KeyDescription)>, Errno> {
    let keys = keyctl::links(ring)?.into_iter();
    Ok(keys
        .filter_map(|key| Some((key, keyctl::describe(key).and_then(KeyDescription::read).ok()?)))
        .collect())
}

fn is_private(key: &KeyDescription) -> bool {
    key.uid == geteuid().as_raw() && key.permissions & SHARED_RIGHTS == 0
}
