//! Socket pairs between our own processes.

use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// A stream pair.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub(crate) fn stream_pair() -> Result<(UnixStream, UnixStream), Errno> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((a.into(), b.into()))
}
