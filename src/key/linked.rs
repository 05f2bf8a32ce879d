//! The keys that lie directly in a keyring.

use std::ffi::CStr;

use nix::errno::Errno;

use super::description::KeyDescription;
use crate::sys::keyctl;

/// A key with its description, or why that cannot be had.
pub(crate) type LinkedKey = (i32, Result<KeyDescription, Errno>);

/// The keys that lie directly in a keyring.
///
/// # Errors
/// The kernel's.
pub(crate) fn keys_in(ring: i32) -> Result<Vec<LinkedKey>, Errno> {
    let keys = keyctl::links(ring)?.into_iter();
    Ok(keys.map(|key| (key, keyctl::describe(key).and_then(KeyDescription::read))).collect())
}

/// Whether it is a keyring of this name.
pub(crate) fn is_keyring(key: &KeyDescription, description: &CStr) -> bool {
    key.key_type == "keyring" && key.description == description.to_bytes()
}
