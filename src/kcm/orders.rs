//! What the acceptor tells the keeper, by the socket between the two.
//!
//! The keeper believes nothing of it: for whom an agent is to be started it learns from the kernel, by the connection. An acceptor that says
//! anything else is ended. The other direction has no messages: the acceptor ends when the keeper closes it.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::passing::{send, take};

/// A message.
#[derive(Debug)]
pub(super) enum KeeperOrder {
    /// Start an agent for the peer of this connection.
    Start {
        /// Only looked at.
        connection: OwnedFd,
        /// The agent's end of its door.
        agents_end: OwnedFd,
        /// Ours, to be kept.
        our_end: OwnedFd,
    },
    /// The agent of this uid has ended or may end.
    Forget(u32),
    /// A connection that nobody wants, and whose closing could take long.
    Close(OwnedFd),
}

const START: u8 = b'S';
const FORGET: u8 = b'F';
const CLOSE: u8 = b'C';

/// Sends [`KeeperOrder::Start`].
///
/// # Errors
/// Those of [`send`].
pub(super) fn start(
    keeper: BorrowedFd<'_>,
    [connection, agents_end, our_end]: [BorrowedFd<'_>; 3],
) -> Result<(), Errno> {
    send(keeper, &[START], &[connection, agents_end, our_end])
}

/// Sends [`KeeperOrder::Forget`].
///
/// # Errors
/// Those of [`send`].
pub(super) fn forget(keeper: BorrowedFd<'_>, uid: u32) -> Result<(), Errno> {
    let [a, b, c, d] = uid.to_be_bytes();
    send(keeper, &[FORGET, a, b, c, d], &[])
}

/// Sends [`KeeperOrder::Close`].
///
/// # Errors
/// Those of [`send`].
pub(super) fn close(keeper: BorrowedFd<'_>, connection: BorrowedFd<'_>) -> Result<(), Errno> {
    send(keeper, &[CLOSE], &[connection])
}

/// The next message; none if the acceptor has ended.
///
/// # Errors
/// EAGAIN if there is none yet, EPROTO if it is no order; those of [`take`].
pub(super) fn next(acceptor: BorrowedFd<'_>) -> Result<Option<KeeperOrder>, Errno> {
    let mut buffer = [0; 5];
    let (length, descriptors) = take(acceptor, &mut buffer)?;
    let message = buffer.get(..length).unwrap_or_default();
    let mut descriptors = descriptors.into_iter();
    let order = match (message, [descriptors.next(), descriptors.next(), descriptors.next()]) {
        ([], [None, None, None]) => return Ok(None),
        ([START], [Some(connection), Some(agents_end), Some(our_end)]) => {
            KeeperOrder::Start { connection, agents_end, our_end }
        }
        (&[FORGET, a, b, c, d], [None, None, None]) => KeeperOrder::Forget(u32::from_be_bytes([a, b, c, d])),
        ([CLOSE], [Some(connection), None, None]) => KeeperOrder::Close(connection),
        _ => return Err(Errno::EPROTO),
    };
    Ok(Some(order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::passing::pair;
    use std::os::fd::AsFd;

    #[test]
    fn orders_arrive_as_they_were_given_and_anything_else_is_none() {
        let (keeper, acceptor) = pair().unwrap();
        let (keeper, sender) = (keeper.as_fd(), acceptor.as_fd());
        start(sender, [sender, keeper, sender]).unwrap();
        forget(sender, 0x0102_0304).unwrap();
        close(sender, keeper).unwrap();
        assert!(matches!(next(keeper), Ok(Some(KeeperOrder::Start { .. }))));
        assert!(matches!(next(keeper), Ok(Some(KeeperOrder::Forget(0x0102_0304)))));
        assert!(matches!(next(keeper), Ok(Some(KeeperOrder::Close(_)))));
        assert!(matches!(next(keeper), Err(Errno::EAGAIN)));
        let wrong: [(&[u8], &[BorrowedFd<'_>]); 6] = [
            (b"S", &[sender, keeper]),
            (b"S", &[]),
            (b"F\0\0\0\x01", &[sender]),
            (b"F\0\0\0", &[]),
            (b"C", &[]),
            (b"X", &[]),
        ];
        for (message, descriptors) in wrong {
            send(sender, message, descriptors).unwrap();
            assert!(matches!(next(keeper), Err(Errno::EPROTO)), "{message:?}");
        }
        send(sender, b"F\0\0\0\x01\0", &[]).unwrap();
        assert!(matches!(next(keeper), Err(Errno::EMSGSIZE)));
        drop(acceptor);
        assert!(matches!(next(keeper), Ok(None)));
    }
}
