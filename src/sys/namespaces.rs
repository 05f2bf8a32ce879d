//! Namespaces and their relations (ioctl_ns(2)), by descriptors from `/proc/<tid>/ns/*`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{fstat, stat};

/// Numbers of the operations on namespaces (linux/nsfs.h).
const NS_GET_USERNS: libc::c_ulong = 0xb701;
const NS_GET_PARENT: libc::c_ulong = 0xb702;
const NS_GET_OWNER_UID: libc::c_ulong = 0xb704;

/// The inode of a namespace, which no other namespace has at the same time.
///
/// # Errors
/// Those of fstat(2).
pub(crate) fn identity(namespace: BorrowedFd<'_>) -> Result<u64, Errno> {
    fstat(namespace).map(|status| status.st_ino)
}

/// The identity of the network namespace that this process is in.
///
/// # Errors
/// Those of stat(2).
pub(crate) fn own_network() -> Result<u64, Errno> {
    stat("/proc/self/ns/net").map(|status| status.st_ino)
}

/// The user namespace that a namespace of another kind belongs to.
///
/// # Errors
/// EPERM if that is neither ours nor below ours.
pub(crate) fn owning_user_namespace(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    descriptor(namespace, NS_GET_USERNS)
}

/// The user namespace in which a user namespace was made.
///
/// # Errors
/// EPERM if that is neither ours nor below ours, and for the initial one.
pub(crate) fn parent(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    descriptor(namespace, NS_GET_PARENT)
}

fn descriptor(namespace: BorrowedFd<'_>, operation: libc::c_ulong) -> Result<OwnedFd, Errno> {
    // SAFETY: the two operations that return a descriptor take no argument.
    let fd = Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), operation as _) })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The user who made a namespace, numbered as in our user namespace.
///
/// # Errors
/// Those of ioctl_ns(2).
pub(crate) fn owner(namespace: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: the operation writes one uid to the pointer, which is to a live local.
    Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID as _, &raw mut uid) })?;
    Ok(uid)
}
