//! Descriptors that come with messages of a local socket (unix(7), SCM_RIGHTS).

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// What one receive has brought.
#[derive(Debug)]
pub(crate) enum Passed {
    /// The first byte of a message, and its descriptor if it has exactly one.
    Message(u8, Option<OwnedFd>),
    /// The other end is closed.
    Closed,
}

/// Receives a message, without waiting. Its descriptors are closed on exec; if it has several, all are closed at once.
///
/// # Errors
/// EAGAIN if there is none; others of recvmsg(2).
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Passed, Errno> {
    let mut bytes = [0; 16];
    // Of more descriptors the kernel keeps none here (MSG_CTRUNC).
    let mut control = cmsg_space!([RawFd; 2]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let length = message.bytes;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    if length == 0 && descriptors.is_empty() {
        return Ok(Passed::Closed);
    }
    let only = descriptors.pop().filter(|_| descriptors.is_empty());
    let [first, ..] = bytes;
    Ok(Passed::Message(first, only))
}
