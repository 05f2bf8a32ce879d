//! Descriptors that come with messages of a local socket (unix(7), SCM_RIGHTS).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

/// Most descriptors of one message of [`receive_several`].
const SEVERAL: usize = 3;

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

/// Two sockets that keep messages apart. Neither end waits for the other.
///
/// # Errors
/// EMFILE, ENFILE.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
}

/// Sends a message with these descriptors, or none of it.
///
/// # Errors
/// EAGAIN if the socket is full, EPIPE or ECONNRESET if its other end is closed; ETOOMANYREFS, ENOBUFS, ENOMEM.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], &rights, flags, None).map(drop)
}

/// Receives a message with its descriptors, without waiting; of length 0 if the other end is closed.
///
/// # Errors
/// EAGAIN if there is none, EMSGSIZE if it is longer than the buffer or has too many descriptors; those of recvmsg(2).
pub(crate) fn receive_several(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut room = cmsg_space!([RawFd; SEVERAL]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    let cut = received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    let mut descriptors = Vec::new();
    for message in received.cmsgs().map_err(|_| Errno::EMSGSIZE)? {
        if let ControlMessageOwned::ScmRights(raw) = message {
            // SAFETY: the kernel has just given us these descriptors; nobody else owns them.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if cut { Err(Errno::EMSGSIZE) } else { Ok((received.bytes, descriptors)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_arrive_with_their_message_and_too_many_are_refused() {
        let (here, there) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let passed = [writer.as_fd(), writer.as_fd()];
        send(here.as_fd(), b"x", &passed).unwrap();
        send(here.as_fd(), b"x", &[writer.as_fd(); SEVERAL + 3]).unwrap();
        drop((here, writer));
        let mut buffer = [0; 4];
        let (length, received) = receive_several(there.as_fd(), &mut buffer).unwrap();
        assert_eq!((length, received.len(), buffer), (1, 2, *b"x\0\0\0"));
        received.into_iter().for_each(|fd| File::from(fd).write_all(b"y").unwrap());
        assert_eq!(receive_several(there.as_fd(), &mut buffer).unwrap_err(), Errno::EMSGSIZE);
        assert_eq!(receive_several(there.as_fd(), &mut buffer).unwrap().0, 0);
        // Nobody has kept a copy of the pipe.
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "yy");
    }
}
