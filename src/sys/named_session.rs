//! Sessions like those that the kernel makes for an upcall, for tests.

use std::ffi::CStr;

use nix::errno::Errno;

use super::keyctl::RawSerial;

/// KEYCTL_JOIN_SESSION_KEYRING with a name, for the calling thread.
///
/// # Errors
/// EDQUOT, ENOMEM.
pub(crate) fn join_session(name: &CStr) -> Result<RawSerial, Errno> {
    // SAFETY: the name ends with NUL and the kernel only reads it.
    let joined = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING as libc::c_ulong, name.as_ptr())
    };
    Errno::result(joined).and_then(|raw| RawSerial::try_from(raw).map_err(|_| Errno::EOVERFLOW))
}
