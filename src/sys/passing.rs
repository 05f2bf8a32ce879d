//! Descriptors that come with messages of a local socket (unix(7), SCM_RIGHTS).

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// What one receive has brought.
#[derive(Debug)]
pub(crate) enum Passed {
    /// The first byte of a message, and its descriptor if it has exactly one.
    Message(u8, Option<OwnedFd>),
    /// The other end is closed.
    Closed,
}

/// Room for the header of control data and two descriptors, aligned as it has to be. Of more the kernel keeps none here.
#[repr(C, align(8))]
struct Control([u8; 32]);

/// Receives a message, without waiting. Its descriptors are closed on exec; if it has several, all are closed at once.
///
/// # Errors
/// EAGAIN if there is none; others of recvmsg(2).
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Passed, Errno> {
    let mut bytes = [0_u8; 16];
    let mut control = Control([0; 32]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a structure of numbers and pointers, all of which may be zero.
    let mut header: libc::msghdr = unsafe { zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    header.msg_control = control.0.as_mut_ptr().cast();
    #[allow(clippy::useless_conversion, reason = "another type with musl")]
    {
        header.msg_controllen = control.0.len().try_into().map_err(|_| Errno::EINVAL)?;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header's pointers are to live buffers of the lengths beside them.
    let length = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })?;
    // SAFETY: the kernel has filled the header of this call, and the buffer lives on.
    let mut descriptors = unsafe { taken(&header) };
    if length == 0 && descriptors.is_empty() {
        return Ok(Passed::Closed);
    }
    let only =
        descriptors.pop().filter(|_| descriptors.is_empty() && header.msg_flags & libc::MSG_CTRUNC == 0);
    let [first, ..] = bytes;
    Ok(Passed::Message(first, only))
}

/// All descriptors in the control data, also of a message of which the kernel left some out.
///
/// # Safety
/// recvmsg(2) has filled the header, whose control data live, and nobody else has taken its descriptors.
unsafe fn taken(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: by this function's contract.
    let mut part = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: a pointer that is not null is to a whole header within the control data.
    while let Some(one) = unsafe { part.as_ref() } {
        if (one.cmsg_level, one.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: only the address is computed.
            let data = unsafe { libc::CMSG_DATA(part) }.cast::<RawFd>();
            #[allow(clippy::useless_conversion, reason = "another type with musl")]
            let length = usize::try_from(one.cmsg_len).unwrap_or(0);
            // SAFETY: a number.
            let before = unsafe { libc::CMSG_LEN(0) };
            let count = length.saturating_sub(usize::try_from(before).unwrap_or(0)) / size_of::<RawFd>();
            for at in 0..count {
                // SAFETY: the kernel has written so many descriptors there, which are new and nobody else's.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(data.add(at).read_unaligned()) });
            }
        }
        // SAFETY: by this function's contract.
        part = unsafe { libc::CMSG_NXTHDR(header, part) };
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
    };
    use std::io::{IoSlice, Read};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn one_descriptor_is_taken_and_of_several_none_stays_open() {
        let kind = SockType::SeqPacket;
        let (here, there) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
        assert!(matches!(receive(here.as_fd()), Err(Errno::EAGAIN)));
        for count in [0, 1, 2, 3, 7, 253] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let numbers = vec![theirs.as_raw_fd(); count];
            let rights = [ControlMessage::ScmRights(&numbers)];
            let rights = if count == 0 { &[][..] } else { &rights };
            let parts = [IoSlice::new(b"x")];
            sendmsg::<()>(there.as_raw_fd(), &parts, rights, MsgFlags::empty(), None).unwrap();
            let Ok(Passed::Message(b'x', taken)) = receive(here.as_fd()) else { panic!("{count}") };
            assert_eq!(taken.is_some(), count == 1, "{count}");
            drop((taken, theirs));
            ours.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            assert_eq!(ours.read(&mut [0]).unwrap(), 0, "{count}: somebody has the other end");
        }
        drop(there);
        assert!(matches!(receive(here.as_fd()), Ok(Passed::Closed)));
    }
}
