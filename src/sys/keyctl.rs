//! keyctl(2), add_key(2) and request_key(2), one function per operation.
//!
//! Serials are the kernel's `key_serial_t`: positive ids, or the negative special ids below. linux-keyutils makes the calls
//! that it supports soundly and without loss. docs/decisions.md says for each other call why it is ours.

mod call;
mod library;
#[cfg(feature = "upcall")]
mod making;

use std::ffi::CStr;
use std::os::raw::{c_int, c_long};
use std::ptr;

use libc::c_ulong;
use linux_keyutils::KeyPermissions;
use nix::errno::Errno;
use zeroize::Zeroizing;

use call::{arg, check, serial, simple};
use library::{errno, library};

pub(crate) use call::RawSerial;
#[cfg(feature = "upcall")]
pub(crate) use making::{
    REQUESTORS_KEYRING, assume_authority, clear_timeout, divest_authority, instantiate,
    own_persistent_keyring, reject, set_owner,
};
#[cfg(feature = "upcall")]
pub use making::{clear, revoke, set_timeout, update};

/// The calling thread's thread keyring.
pub(crate) const THREAD_KEYRING: RawSerial = libc::KEY_SPEC_THREAD_KEYRING;
/// The calling process's process keyring.
pub const PROCESS_KEYRING: RawSerial = libc::KEY_SPEC_PROCESS_KEYRING;
/// The calling process's session keyring.
pub const SESSION_KEYRING: RawSerial = libc::KEY_SPEC_SESSION_KEYRING;
/// The user keyring of the calling process's real uid.
pub const USER_KEYRING: RawSerial = libc::KEY_SPEC_USER_KEYRING;

/// Longest description that the kernel keeps, with room for the fields before it.
const DESCRIBE_LIMIT: usize = 4096 + 128;
/// Longest payload of any key, which a `big_key` can have.
const PAYLOAD_LIMIT: usize = 1024 * 1024;
/// Most bytes of serials read from a keyring: a quarter of a million links.
const KEYRING_LINKS_LIMIT: usize = 1024 * 1024;

/// KEYCTL_DESCRIBE: `type;uid;gid;perm;description`, without the final NUL.
///
/// # Errors
/// EACCES without view permission, ENOKEY, EKEYREVOKED, EKEYEXPIRED; EMSGSIZE if longer than the kernel makes them.
pub fn describe(key: RawSerial) -> Result<Vec<u8>, Errno> {
    // Most fit here; the front has no time for more.
    let mut short = [0u8; 256];
    let length = describe_into(key, &mut short)?;
    let mut text = match short.get(..length) {
        Some(text) => text.to_vec(),
        None => std::mem::take(&mut *read_all(describe_into, key, DESCRIBE_LIMIT)?),
    };
    text.pop();
    Ok(text)
}

/// KEYCTL_READ: the payload.
///
/// # Errors
/// EACCES without read permission, ENOKEY, EKEYREVOKED, EKEYEXPIRED, the key's own error if negative.
pub fn read(key: RawSerial) -> Result<Zeroizing<Vec<u8>>, Errno> {
    read_all(read_into, key, PAYLOAD_LIMIT)
}

/// KEYCTL_READ with a limit: a longer payload is not read.
///
/// # Errors
/// EMSGSIZE for a longer payload, and those of [`read`].
#[cfg(feature = "upcall")]
pub(crate) fn read_at_most(key: RawSerial, limit: usize) -> Result<Zeroizing<Vec<u8>>, Errno> {
    read_all(read_into, key, limit.min(PAYLOAD_LIMIT))
}

/// KEYCTL_READ into the caller's buffer. Returns the payload's length. If that exceeds the buffer's, the contents of `buffer`
/// are useless. Allocates nothing.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn read_into(key: RawSerial, mut buffer: &mut [u8]) -> Result<usize, Errno> {
    library(key).read(&mut buffer).map_err(errno)
}

/// KEYCTL_READ of a keyring: its links. A keyring that grows meanwhile is read again.
///
/// # Errors
/// EACCES without read permission, ENOKEY, EKEYREVOKED, EKEYEXPIRED, EMSGSIZE if there are too many.
pub fn links(ring: RawSerial) -> Result<Vec<RawSerial>, Errno> {
    let bytes = read_all(read_into, ring, KEYRING_LINKS_LIMIT)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|serial| RawSerial::from_ne_bytes(*serial)).collect())
}

/// Calls `one_try`, which returns the whole length even if that exceeds its buffer, until everything fits.
fn read_all(
    one_try: fn(RawSerial, &mut [u8]) -> Result<usize, Errno>,
    key: RawSerial,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Errno> {
    let mut buffer = Zeroizing::new(vec![0u8; 512]);
    loop {
        let length = one_try(key, &mut buffer)?;
        if length <= buffer.len() {
            buffer.truncate(length);
            return Ok(buffer);
        }
        if length > limit {
            return Err(Errno::EMSGSIZE);
        }
        buffer = Zeroizing::new(vec![0u8; length]);
    }
}

/// KEYCTL_DESCRIBE, as [`read_into`].
fn describe_into(key: RawSerial, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length describe `buffer`, which the kernel fills at most to that length.
    let length = check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            c_ulong::from(libc::KEYCTL_DESCRIBE),
            arg(key),
            buffer.as_mut_ptr(),
            buffer.len(),
            0 as c_ulong,
        )
    })?;
    usize::try_from(length).map_err(|_| Errno::EOVERFLOW)
}

/// KEYCTL_LINK: puts `key` into `ring`.
///
/// # Errors
/// EACCES, EDQUOT, ENOKEY.
pub fn link(key: RawSerial, ring: RawSerial) -> Result<(), Errno> {
    simple(libc::KEYCTL_LINK, arg(key), arg(ring)).map(drop)
}

/// KEYCTL_UNLINK: takes `key` out of `ring`, even a negative, revoked or expired one.
///
/// # Errors
/// EACCES without write permission for the keyring, ENOENT if the key is not in it.
pub fn unlink(key: RawSerial, ring: RawSerial) -> Result<(), Errno> {
    simple(libc::KEYCTL_UNLINK, arg(key), arg(ring)).map(drop)
}

/// [add_key(2)](https://man7.org/linux/man-pages/man2/add_key.2.html).
///
/// # Errors
/// EDQUOT, EACCES, EINVAL.
pub fn add(key_type: &CStr, description: &CStr, payload: &[u8], ring: RawSerial) -> Result<RawSerial, Errno> {
    // SAFETY: the strings are NUL-terminated, pointer and length describe `payload`; the kernel only reads them.
    serial(check(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            key_type.as_ptr(),
            description.as_ptr(),
            payload.as_ptr(),
            payload.len(),
            c_long::from(ring as c_int),
        )
    })?)
}

/// KEYCTL_SETPERM.
///
/// # Errors
/// EACCES without setattr permission.
pub fn set_permissions(key: RawSerial, permissions: u32) -> Result<(), Errno> {
    library(key).set_perms(KeyPermissions::from_u32(permissions)).map_err(errno)
}

/// KEYCTL_INVALIDATE: removes the key at once, for everybody.
///
/// # Errors
/// EACCES without search permission, ENOKEY.
pub fn invalidate(key: RawSerial) -> Result<(), Errno> {
    library(key).invalidate().map_err(errno)
}

/// KEYCTL_JOIN_SESSION_KEYRING with no name: a fresh anonymous session keyring for this process.
///
/// # Errors
/// EDQUOT, ENOMEM.
pub fn join_anonymous_session() -> Result<RawSerial, Errno> {
    serial(simple(libc::KEYCTL_JOIN_SESSION_KEYRING, 0, 0)?)
}

/// KEYCTL_GET_KEYRING_ID: the serial behind a special id. Creates nothing.
///
/// # Errors
/// ENOKEY if there is no such keyring.
pub(crate) fn keyring_id(special: RawSerial) -> Result<RawSerial, Errno> {
    serial(simple(libc::KEYCTL_GET_KEYRING_ID, arg(special), 0)?)
}

/// The same, but makes the keyring if there is none.
///
/// # Errors
/// EDQUOT, ENOMEM.
pub(crate) fn make_keyring(special: RawSerial) -> Result<RawSerial, Errno> {
    serial(simple(libc::KEYCTL_GET_KEYRING_ID, arg(special), 1)?)
}

/// KEYCTL_SEARCH of `ring` and the keyrings in it. Does not link the key anywhere.
///
/// # Errors
/// ENOKEY, EACCES, EKEYREVOKED, EKEYEXPIRED.
pub(crate) fn search(ring: RawSerial, key_type: &CStr, description: &CStr) -> Result<RawSerial, Errno> {
    search_and_link(ring, key_type, description, 0)
}

/// The same, and links the key to `into`. Takes no lock that is shared with other keyrings, unless the key itself is a keyring.
///
/// # Errors
/// EDQUOT, and those of [`search`].
pub(crate) fn search_and_link(
    ring: RawSerial,
    key_type: &CStr,
    description: &CStr,
    into: RawSerial,
) -> Result<RawSerial, Errno> {
    // SAFETY: both strings are NUL-terminated and outlive the call; the kernel only reads them.
    serial(check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            c_ulong::from(libc::KEYCTL_SEARCH),
            arg(ring),
            key_type.as_ptr(),
            description.as_ptr(),
            arg(into),
        )
    })?)
}

/// [request_key(2)](https://man7.org/linux/man-pages/man2/request_key.2.html) with an upcall: finds the key or has it made,
/// and links it to `ring`. Blocks until the upcall has answered.
///
/// # Errors
/// The error that the upcall gave the key, or EDQUOT, EKEYREVOKED, ENOKEY.
pub fn request(
    key_type: &CStr,
    description: &CStr,
    callout: &CStr,
    ring: RawSerial,
) -> Result<RawSerial, Errno> {
    // SAFETY: the strings are NUL-terminated and outlive the call; the kernel only reads them.
    serial(check(unsafe {
        libc::syscall(
            libc::SYS_request_key,
            key_type.as_ptr(),
            description.as_ptr(),
            callout.as_ptr(),
            c_long::from(ring as c_int),
        )
    })?)
}

/// [request_key(2)](https://man7.org/linux/man-pages/man2/request_key.2.html) without an upcall: only finds a key.
///
/// # Errors
/// ENOKEY, EKEYREVOKED, EKEYEXPIRED, the key's own error if negative.
pub fn find(key_type: &CStr, description: &CStr) -> Result<RawSerial, Errno> {
    // SAFETY: the strings are NUL-terminated and outlive the call. A null callout is allowed and means no upcall.
    serial(check(unsafe {
        libc::syscall(
            libc::SYS_request_key,
            key_type.as_ptr(),
            description.as_ptr(),
            ptr::null::<u8>(),
            0 as c_long,
        )
    })?)
}
