//! A KEYRING cache as the bytes of a FILE cache, for root's requests: their worker is another user and can be given
//! bytes, but no keyring of root's.
//!
//! MIT Kerberos keeps a collection as a keyring `_krb_<name>` (`_krb` in a persistent keyring) with a key that names
//! the primary cache and a keyring for each cache; in that, one key holds the principal and one each credential, in
//! the very form of FILE version 4 (krb5 documentation, "Keyring ccache" and "Credential cache file format").

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::cache_name::Anchor;
use crate::key::{KeyDescription, KeySerial};
use crate::sys::keyctl;
use crate::wire::Reader;

/// `05 04`, and no header fields.
const FILE_VERSION_4: [u8; 4] = [5, 4, 0, 0];
const PRIMARY: &CStr = c"krb_ccache:primary";
const PRINCIPAL: &CStr = c"__krb5_princ__";
/// Begins the names of keys that are no credentials.
const NOT_A_CREDENTIAL: &[u8] = b"__krb5_";
const NAME_LIMIT: usize = 256;

/// Copies a cache of the calling process: of `collection` the one that `residual` (`anchor:collection[:cache]`) names,
/// or the primary one.
///
/// # Errors
/// ENOKEY if there is no such cache, EPROTO if it does not have the form known, and the kernel's.
pub fn copy(anchor: Anchor, collection: &str, residual: &str) -> Result<Zeroizing<Vec<u8>>, Errno> {
    let cache = residual.splitn(3, ':').nth(2);
    let (ring, name) = match anchor {
        Anchor::Session => (keyctl::SESSION_KEYRING, format!("_krb_{collection}")),
        Anchor::User => (keyctl::USER_KEYRING, format!("_krb_{collection}")),
        Anchor::Persistent => (keyctl::own_persistent_keyring(keyctl::PROCESS_KEYRING)?, "_krb".to_owned()),
    };
    let collection = keyctl::search(ring, c"keyring", &c_name(&name)?)?;
    // Only what a keyring of the process leads to can be read.
    keyctl::link(collection, keyctl::PROCESS_KEYRING)?;
    let copied = copy_cache(collection, cache);
    keyctl::clear(keyctl::PROCESS_KEYRING)?;
    copied
}

fn copy_cache(collection: i32, cache: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Errno> {
    let name = match cache {
        Some(name) => name.to_owned(),
        None => {
            primary(&keyctl::read(keyctl::search(collection, c"user", PRIMARY)?)?).ok_or(Errno::EPROTO)?
        }
    };
    let cache = keyctl::search(collection, c"keyring", &c_name(&name)?)?;
    let mut file = Zeroizing::new(FILE_VERSION_4.to_vec());
    file.extend_from_slice(&keyctl::read(keyctl::search(cache, c"user", PRINCIPAL)?)?);
    for serial in keyctl::read(cache)?.chunks_exact(size_of::<i32>()) {
        let serial = Reader::new(serial).u32_host().map_err(|_| Errno::EPROTO)?.cast_signed();
        let description = KeyDescription::of(KeySerial::new(serial).ok_or(Errno::EPROTO)?)?;
        if description.key_type != "keyring" && !description.description.starts_with(NOT_A_CREDENTIAL) {
            file.extend_from_slice(&keyctl::read(serial)?);
        }
    }
    Ok(file)
}

/// `u32 be version 1 · u32 be length · name`.
fn primary(payload: &[u8]) -> Option<String> {
    let mut reader = Reader::new(payload);
    if reader.u32_be().ok()? != 1 {
        return None;
    }
    let length = usize::try_from(reader.u32_be().ok()?).ok().filter(|&length| length <= NAME_LIMIT)?;
    let name = std::str::from_utf8(reader.take(length).ok()?).ok()?.to_owned();
    reader.finish().ok()?;
    Some(name)
}

fn c_name(name: &str) -> Result<CString, Errno> {
    CString::new(name).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::primary;

    #[test]
    fn the_primary_cache_is_named_by_version_length_and_text() {
        assert_eq!(primary(b"\0\0\0\x01\0\0\0\x04mine"), Some("mine".into()));
        for bad in
            [&b""[..], b"\0\0\0\x02\0\0\0\x04mine", b"\0\0\0\x01\0\0\0\x05mine", b"\0\0\0\x01\0\0\0\x03mine"]
        {
            assert_eq!(primary(bad), None, "{bad:?}");
        }
    }
}
