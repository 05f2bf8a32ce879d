//! Sockets between our own processes by which descriptors are passed, and what of strangers' sockets can hold their closer up.
//!
//! Whoever closes a local socket also closes the descriptors in it that nobody has taken, and that can take as long as their sender likes: a
//! socket may linger, a file may be on a file system of the sender's. Kernels from 6.16 on can refuse such messages
//! (SO_PASSRIGHTS); for others [`may_hold_descriptors`] tells.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

use super::passed::receive_into;

/// Most descriptors of one message.
pub(crate) const MOST: usize = 3;

/// SO_PASSRIGHTS (socket(7), include/uapi/asm-generic/socket.h of Linux).
const PASS_RIGHTS: libc::c_int = 83;

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
/// EAGAIN if the socket is full, EPIPE or ECONNRESET if its other end is closed; ETOOMANYREFS if more descriptors of this user
/// are on their way than it may have open; ENOBUFS, ENOMEM.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], rights, flags, None).map(drop)
}

/// Receives a message with its descriptors; of length 0 if the other end is closed.
///
/// # Errors
/// EAGAIN if there is none, EMSGSIZE if it is longer than the buffer or has more than [`MOST`] descriptors; those of recvmsg(2).
pub fn take(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let received = receive_into(socket, buffer)?;
    if received.is_cut || received.descriptors.len() > MOST {
        return Err(Errno::EMSGSIZE);
    }
    Ok((received.length, received.descriptors))
}

/// Receives a message that must not have descriptors; of length 0 if the other end is closed. One that has some stays where it
/// is.
///
/// # Errors
/// EAGAIN if there is none, EMSGSIZE if it is longer than the buffer, EPROTO if it has descriptors; those of recvmsg(2).
pub(crate) fn take_plain(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut first = [0];
    let mut parts = [IoSliceMut::new(&mut first)];
    // Without room for them, they are only told of.
    let looking = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let seen = recvmsg::<()>(socket.as_raw_fd(), &mut parts, None, looking)?;
    if seen.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(Errno::EPROTO);
    }
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT)?;
    if received.flags.contains(MsgFlags::MSG_TRUNC) { Err(Errno::EMSGSIZE) } else { Ok(received.bytes) }
}

/// Has the kernel refuse descriptors that are sent to this socket, and, if it listens, to those that are accepted from it.
///
/// # Errors
/// ENOPROTOOPT of kernels before 6.16.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let none: libc::c_int = 0;
    let size = libc::socklen_t::try_from(size_of_val(&none)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the value lives through the call and has the given size.
    Errno::result(unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, PASS_RIGHTS, (&raw const none).cast(), size)
    })
    .map(drop)
}

/// Whether others may have sent descriptors to this socket, so that closing it may take long.
pub(crate) fn may_hold_descriptors(socket: BorrowedFd<'_>) -> bool {
    let mut passed: libc::c_int = 1;
    let Ok(mut size) = libc::socklen_t::try_from(size_of_val(&passed)) else { return true };
    // SAFETY: the kernel writes at most `size` bytes to the value, which is ours alone.
    let known = Errno::result(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            PASS_RIGHTS,
            (&raw mut passed).cast(),
            &raw mut size,
        )
    });
    known.is_err() || passed != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn descriptors_arrive_with_their_message_and_in_order() {
        let (here, there) = pair().unwrap();
        let (null, zero) = (File::open("/dev/null").unwrap(), File::open("/dev/zero").unwrap());
        send(here.as_fd(), b"two", &[null.as_fd(), zero.as_fd()]).unwrap();
        send(here.as_fd(), b"none", &[]).unwrap();
        let mut buffer = [0; 8];
        let (length, descriptors) = take(there.as_fd(), &mut buffer).unwrap();
        let names: Vec<_> = descriptors
            .iter()
            .map(|fd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap())
            .collect();
        assert_eq!((&buffer[..length], names), (&b"two"[..], vec!["/dev/null".into(), "/dev/zero".into()]));
        let (length, descriptors) = take(there.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..length], descriptors.len()), (&b"none"[..], 0));
        assert_eq!(take(there.as_fd(), &mut buffer).unwrap_err(), Errno::EAGAIN);
        drop(here);
        assert_eq!(take(there.as_fd(), &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn a_message_with_descriptors_where_none_belong_is_not_taken() {
        let (here, there) = pair().unwrap();
        send(here.as_fd(), b"plain", &[]).unwrap();
        send(here.as_fd(), b"laden", &[here.as_fd()]).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(take_plain(there.as_fd(), &mut buffer), Ok(5));
        assert_eq!(take_plain(there.as_fd(), &mut buffer), Err(Errno::EPROTO));
        assert_eq!(take_plain(there.as_fd(), &mut buffer), Err(Errno::EPROTO));
    }

    #[test]
    fn where_the_kernel_can_a_client_is_kept_from_sending_descriptors_and_elsewhere_it_shows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let before = UnixStream::connect(&path).unwrap();
        let refused = refuse_descriptors(listener.as_fd());
        let after = UnixStream::connect(&path).unwrap();
        let null = File::open("/dev/null").unwrap();
        let accepted = [listener.accept().unwrap().0, listener.accept().unwrap().0];
        assert!(send(before.as_fd(), b"x", &[null.as_fd()]).is_ok());
        assert!(may_hold_descriptors(accepted[0].as_fd()));
        match refused {
            Ok(()) => {
                assert_eq!(send(after.as_fd(), b"x", &[null.as_fd()]), Err(Errno::EPERM));
                assert!(!may_hold_descriptors(accepted[1].as_fd()));
            }
            Err(errno) => {
                assert_eq!(errno, Errno::ENOPROTOOPT);
                assert!(may_hold_descriptors(accepted[1].as_fd()));
            }
        }
    }
}
