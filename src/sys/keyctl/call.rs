//! keyctl(2) itself, and what it takes and returns.

use std::os::raw::c_long;

use libc::c_ulong;
use nix::errno::Errno;

/// A key's serial number as the kernel counts them.
pub(crate) type RawSerial = i32;

/// The result of a call, or its errno.
pub(super) fn check(result: c_long) -> Result<c_long, Errno> {
    Errno::result(result)
}

/// The serial that a call returned.
pub(super) fn serial(result: c_long) -> Result<RawSerial, Errno> {
    check(result).and_then(|raw| RawSerial::try_from(raw).map_err(|_| Errno::EOVERFLOW))
}

/// A signed id in a register-wide argument; the kernel takes the low 32 bits.
pub(super) fn arg(id: RawSerial) -> c_ulong {
    id.cast_unsigned().into()
}

/// keyctl(2) with plain numbers.
pub(super) fn simple(operation: u32, arg2: c_ulong, arg3: c_ulong) -> Result<c_long, Errno> {
    // SAFETY: only operations whose arguments are plain numbers come here; the kernel dereferences none of them.
    check(unsafe {
        libc::syscall(libc::SYS_keyctl, c_ulong::from(operation), arg2, arg3, 0 as c_ulong, 0 as c_ulong)
    })
}
