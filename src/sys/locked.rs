//! Memory that is not swapped out (mlockall(2)).

use nix::errno::Errno;

/// Keeps all of this process's present memory out of swap; what it gets later, by another call.
///
/// # Errors
/// ENOMEM if that is more than the limit RLIMIT_MEMLOCK, EPERM if that is 0; what was locked before stays so.
pub(crate) fn lock_present() -> Result<(), Errno> {
    // SAFETY: a number.
    Errno::result(unsafe { libc::mlockall(libc::MCL_CURRENT) }).map(drop)
}
