//! Operations that make keys or change them: those of the upcall and of the tools.

use std::time::Duration;

use libc::c_ulong;
use linux_keyutils::KeySerialId;
use nix::errno::Errno;

use super::call::{RawSerial, arg, check, serial, simple};
use super::library::{errno, library};

/// For the holder of authority over a key under construction: the keyring that the requester wants the key in.
pub(crate) const REQUESTORS_KEYRING: RawSerial = libc::KEY_SPEC_REQUESTOR_KEYRING;

/// [KEYCTL_ASSUME_AUTHORITY](https://man7.org/linux/man-pages/man2/keyctl.2.html): the right to instantiate `key`.
/// Returns the serial of the authorisation key.
///
/// # Errors
/// ENOKEY if the process has no such authority.
pub(crate) fn assume_authority(key: RawSerial) -> Result<RawSerial, Errno> {
    serial(simple(libc::KEYCTL_ASSUME_AUTHORITY, arg(key), 0)?)
}

/// KEYCTL_ASSUME_AUTHORITY with no key: gives up the authority that this process has.
///
/// # Errors
/// None known.
pub(crate) fn divest_authority() -> Result<(), Errno> {
    library(0).assume_authority().map_err(errno)
}

/// KEYCTL_INSTANTIATE: gives the key under construction its payload and links it to `ring` (0: to none).
///
/// # Errors
/// EDQUOT, EPERM without authority, EBUSY if it is no longer under construction.
pub(crate) fn instantiate(key: RawSerial, payload: &[u8], ring: RawSerial) -> Result<(), Errno> {
    library(key).instantiate(payload, KeySerialId(ring)).map_err(errno)
}

/// KEYCTL_REJECT: makes the key under construction negative with `errno` for `ttl`.
///
/// # Errors
/// EPERM without authority, EBUSY if it is no longer under construction.
pub(crate) fn reject(key: RawSerial, ttl: Duration, errno: Errno) -> Result<(), Errno> {
    let error = c_ulong::from((errno as i32).unsigned_abs());
    // SAFETY: all arguments are plain numbers.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            c_ulong::from(libc::KEYCTL_REJECT),
            arg(key),
            c_ulong::try_from(seconds(ttl)).unwrap_or(c_ulong::MAX),
            error,
            0 as c_ulong,
        )
    })?;
    Ok(())
}

/// KEYCTL_SET_TIMEOUT, in whole seconds, at least one.
///
/// # Errors
/// EACCES without setattr permission or authority.
pub fn set_timeout(key: RawSerial, timeout: Duration) -> Result<(), Errno> {
    library(key).set_timeout(seconds(timeout).max(1)).map_err(errno)
}

/// KEYCTL_SET_TIMEOUT of 0: the key does not expire.
///
/// # Errors
/// As [`set_timeout`].
pub(crate) fn clear_timeout(key: RawSerial) -> Result<(), Errno> {
    library(key).set_timeout(0).map_err(errno)
}

/// KEYCTL_CHOWN.
///
/// # Errors
/// EACCES without setattr permission, EPERM for a user or group that is not ours without CAP_SYS_ADMIN, EDQUOT where the new
/// owner's quota has no room for it.
pub(crate) fn set_owner(key: RawSerial, uid: u32, gid: u32) -> Result<(), Errno> {
    library(key).chown(Some(uid), Some(gid)).map_err(errno)
}

fn seconds(duration: Duration) -> usize {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX) as usize
}

/// KEYCTL_UPDATE: replaces the payload. For `user` keys it also clears the expiry.
///
/// # Errors
/// EACCES without write permission, EDQUOT, EKEYREVOKED, EKEYEXPIRED.
pub fn update(key: RawSerial, payload: &[u8]) -> Result<(), Errno> {
    library(key).update(&payload).map_err(errno)
}

/// KEYCTL_CLEAR: takes everything out of `ring`.
///
/// # Errors
/// EACCES.
pub fn clear(ring: RawSerial) -> Result<(), Errno> {
    simple(libc::KEYCTL_CLEAR, arg(ring), 0).map(drop)
}

/// KEYCTL_REVOKE.
///
/// # Errors
/// EACCES, ENOKEY.
pub fn revoke(key: RawSerial) -> Result<(), Errno> {
    library(key).revoke().map_err(errno)
}

/// KEYCTL_GET_PERSISTENT: the persistent keyring of the caller's uid, made if necessary and linked to `ring`.
///
/// # Errors
/// EOPNOTSUPP if the kernel has none, EDQUOT, EACCES.
pub(crate) fn own_persistent_keyring(ring: RawSerial) -> Result<RawSerial, Errno> {
    serial(simple(libc::KEYCTL_GET_PERSISTENT, arg(-1), arg(ring))?)
}
