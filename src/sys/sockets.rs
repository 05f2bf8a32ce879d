//! Socket pairs between our own processes, and descriptors sent over them.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

/// A pair whose messages keep their boundaries.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn message_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// A stream pair.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn stream_pair() -> Result<(UnixStream, UnixStream), Errno> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((a.into(), b.into()))
}

/// Sends one message with up to two descriptors.
///
/// # Errors
/// EPIPE if the other side has gone.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &control[..] };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], control, MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
}

/// Receives one message of at most `buffer.len()` bytes with the descriptors sent with it. Nothing at all means that
/// the other side has closed.
///
/// # Errors
/// EMSGSIZE if the message or its descriptors were cut, and those of recvmsg(2).
pub fn receive<'b>(socket: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Result<(&'b [u8], Vec<OwnedFd>), Errno> {
    let mut control = cmsg_space!([std::os::fd::RawFd; 2]);
    let mut vector = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut vector, Some(&mut control), flags)?;
    let mut descriptors = Vec::new();
    for item in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = item {
            // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let (length, cut) = (message.bytes, message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC));
    if cut {
        return Err(Errno::EMSGSIZE);
    }
    Ok((buffer.get(..length).unwrap_or_default(), descriptors))
}
