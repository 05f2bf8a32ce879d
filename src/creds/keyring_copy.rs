//! Copies a KEYRING cache into the bytes of a FILE cache, for readers that cannot reach the keyring: the worker for
//! root's requests is another user.
//!
//! MIT Kerberos keeps a collection as a keyring `_krb_<name>` (`_krb` in a persistent keyring) with a key that names
//! the primary cache and a keyring for each cache. In that, one key holds the principal and one key each credential,
//! exactly in the format of FILE version 4 (krb5 documentation, "Keyring ccache" and "Credential cache file format").

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::budget::KeyBudget;
use super::cache_name::Anchor;
use super::visible_ring;
use crate::key::{KeyDescription, KeySerial};
use crate::sys::keyctl;
use crate::wire::Reader;

/// `05 04`, and no header fields.
const FILE_VERSION_4: [u8; 4] = [5, 4, 0, 0];
/// `05`, and a version that the library reads.
const FILE_MAGIC: [u8; 1] = [5];
/// Most components of a principal's name in a key.
const KEY_COMPONENTS_LIMIT: u32 = 16;
const PRIMARY: &CStr = c"krb_ccache:primary";
const PRINCIPAL: &CStr = c"__krb5_princ__";
/// Prefix of the names of keys that are not credentials.
const NOT_A_CREDENTIAL: &[u8] = b"__krb5_";
const NAME_LIMIT: usize = 256;

/// Copies a cache of the calling process: in `collection`, the cache that `residual` (`anchor:collection[:cache]`)
/// names, or the primary one.
///
/// # Errors
/// ENOKEY without such a cache, EPROTO if its format is unknown, and the kernel's.
pub(crate) fn copy(anchor: Anchor, collection: &str, residual: &str) -> Result<Zeroizing<Vec<u8>>, Errno> {
    let cache = residual.splitn(3, ':').nth(2);
    let (ring, name) = match anchor {
        // The keyrings of root's process are not those of this one.
        Anchor::Thread | Anchor::Process => return Err(Errno::ENOKEY),
        Anchor::Session => (keyctl::SESSION_KEYRING, format!("_krb_{collection}")),
        Anchor::User => (keyctl::USER_KEYRING, format!("_krb_{collection}")),
        // Asking for a missing one would create it, for days.
        Anchor::Persistent if visible_ring::which_exist([&visible_ring::persistent(0)]) == [false] => {
            return Err(Errno::ENOKEY);
        }
        Anchor::Persistent => (keyctl::own_persistent_keyring(keyctl::PROCESS_KEYRING)?, "_krb".to_owned()),
    };
    let collection = keyctl::search(ring, c"keyring", &c_name(&name)?)?;
    // A keyring can be read only if a keyring of the process leads to it.
    keyctl::link(collection, keyctl::PROCESS_KEYRING)?;
    let copied = copy_cache(collection, cache);
    keyctl::clear(keyctl::PROCESS_KEYRING)?;
    copied
}

fn copy_cache(collection: i32, cache: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Errno> {
    let mut budget = KeyBudget::default();
    match cache {
        Some(name) => copy_member(collection, name, &mut budget),
        None => copy_member(collection, &primary_of(collection)?, &mut budget),
    }
}

/// Name of the primary cache of a collection, by the collection's keyring, which the caller must possess.
///
/// # Errors
/// As [`copy`].
pub(super) fn primary_of(collection: i32) -> Result<String, Errno> {
    primary(&keyctl::read(keyctl::search(collection, c"user", PRIMARY)?)?).ok_or(Errno::EPROTO)
}

/// Copies one cache of a collection, by the collection's keyring, which the caller must possess.
///
/// # Errors
/// As [`copy`].
pub(crate) fn copy_member(
    collection: i32,
    name: &str,
    budget: &mut KeyBudget,
) -> Result<Zeroizing<Vec<u8>>, Errno> {
    let cache = keyctl::search(collection, c"keyring", &c_name(name)?)?;
    let mut file = Zeroizing::new(FILE_VERSION_4.to_vec());
    file.extend_from_slice(&budget.read(keyctl::search(cache, c"user", PRINCIPAL)?)?);
    for serial in keyctl::read(cache)?.chunks_exact(size_of::<i32>()) {
        let serial = Reader::new(serial).u32_host().map_err(|_| Errno::EPROTO)?.cast_signed();
        budget.look()?;
        let description = KeyDescription::of(KeySerial::new(serial).ok_or(Errno::EPROTO)?)?;
        if description.key_type != "keyring" && !description.description.starts_with(NOT_A_CREDENTIAL) {
            file.extend_from_slice(&budget.read(serial)?);
        }
    }
    Ok(file)
}

/// A FILE cache (version 4) with one credential and its client's name, made from the payload of a key that is either
/// such a file or a credential in that format.
///
/// # Errors
/// EPROTO if it is neither.
pub(crate) fn file_of_credential(payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, Errno> {
    if payload.starts_with(&FILE_MAGIC) {
        return Ok(Zeroizing::new(payload.to_vec()));
    }
    // A credential begins with its client.
    let client = principal_length(payload).and_then(|length| payload.get(..length)).ok_or(Errno::EPROTO)?;
    let mut file = Zeroizing::new(Vec::with_capacity(FILE_VERSION_4.len() + client.len() + payload.len()));
    file.extend_from_slice(&FILE_VERSION_4);
    file.extend_from_slice(client);
    file.extend_from_slice(payload);
    Ok(file)
}

/// `u32 be type · u32 be count · u32 be length · realm · count times (u32 be length · component)`.
fn principal_length(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    reader.u32_be().ok()?;
    let components = reader.u32_be().ok().filter(|count| (1..=KEY_COMPONENTS_LIMIT).contains(count))?;
    for _ in 0..=components {
        let length = usize::try_from(reader.u32_be().ok()?).ok()?;
        reader.take(length).ok()?;
    }
    Some(bytes.len() - reader.rest().len())
}

/// `u32 be version 1 · u32 be length · name`.
pub(super) fn primary(payload: &[u8]) -> Option<String> {
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
    use super::{Errno, file_of_credential, primary};

    #[test]
    fn a_single_credential_becomes_a_file_that_begins_with_its_client() {
        let client = b"\0\0\0\x01\0\0\0\x01\0\0\0\x01R\0\0\0\x05alice";
        let credential = [&client[..], b"server and so on"].concat();
        let file = file_of_credential(&credential).unwrap();
        assert_eq!(file.as_slice(), [b"\x05\x04\0\0", &client[..], &credential].concat());
        assert_eq!(file_of_credential(&file).unwrap(), file, "a whole file is taken as it is");
        for cut in [0, 1, 7, 12, client.len() - 1] {
            assert_eq!(file_of_credential(&credential[..cut]), Err(Errno::EPROTO), "{cut} bytes");
        }
        assert_eq!(file_of_credential(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), Err(Errno::EPROTO));
    }

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
