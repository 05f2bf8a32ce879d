//! Where connections come from: a listening socket of our own or of systemd's, or the door by which `lgss_kcm` passes them on
//! ([`crate::door`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use std::os::fd::AsRawFd;

use crate::door::{CONNECTION, Leaving};
use crate::sys::passed::{Passed, receive};

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Intake {
    /// A listening socket that was passed, by systemd, which starts the process again.
    Passed(UnixListener),
    /// A listening socket of our own, where nobody is started by a connection.
    Own(UnixListener),
    /// The door, and how many connections have come.
    Door(OwnedFd, u64),
    /// The door is closed: no connection comes any more.
    Closed,
}

/// What has come.
#[derive(Debug)]
pub(super) enum IntakeArrival {
    /// A connection.
    Connection(UnixStream),
    /// A connection that found no free descriptor here, and is closed by that.
    Lost,
    /// Something else, which is ignored.
    Garbage,
    /// Nothing more.
    Nothing,
    /// The other side of the door has closed it.
    DoorClosed,
}

impl Intake {
    /// Readable when something has come.
    pub(super) fn awaited(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Passed(listener) | Self::Own(listener) => Some(listener.as_fd()),
            Self::Door(door, _) => Some(door.as_fd()),
            Self::Closed => None,
        }
    }

    /// Whether those who come are served though this process has ended.
    pub(super) fn is_served_by_others(&self) -> bool {
        !matches!(self, Self::Own(_))
    }

    /// Takes one connection. A door that is closed stays so.
    ///
    /// # Errors
    /// The kernel's, such as EMFILE: it is to be tried later.
    pub(super) fn take(&mut self) -> Result<IntakeArrival, Errno> {
        let socket = match self {
            Self::Closed => return Ok(IntakeArrival::Nothing),
            Self::Passed(listener) | Self::Own(listener) => match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) => return nothing_or(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
            },
            Self::Door(door, count) => match receive(door.as_fd()) {
                Ok(Passed::Closed) => {
                    *self = Self::Closed;
                    return Ok(IntakeArrival::DoorClosed);
                }
                Ok(Passed::Message(CONNECTION, Some(socket))) => {
                    *count = count.wrapping_add(1);
                    UnixStream::from(socket)
                }
                // It counts, too: it was sent.
                Ok(Passed::Message(CONNECTION, None)) => {
                    *count = count.wrapping_add(1);
                    return Ok(IntakeArrival::Lost);
                }
                Ok(Passed::Message(..)) => return Ok(IntakeArrival::Garbage),
                Err(errno) => return nothing_or(errno),
            },
        };
        Ok(match socket.set_nonblocking(true) {
            Ok(()) => IntakeArrival::Connection(socket),
            Err(_) => IntakeArrival::Garbage,
        })
    }

    /// Asks to be let go. Returns whether there is nobody to be asked.
    pub(super) fn ask_to_leave(&self) -> bool {
        let Self::Door(door, count) = self else { return true };
        let message = Leaving { received: *count }.encode();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // If it does not get through, the other side has closed the door, which is seen next.
        let _ = send(door.as_raw_fd(), &message, flags);
        false
    }
}

fn nothing_or(errno: Errno) -> Result<IntakeArrival, Errno> {
    match errno {
        Errno::EAGAIN => Ok(IntakeArrival::Nothing),
        // A client that has gone again is none.
        Errno::EINTR | Errno::ECONNABORTED => Ok(IntakeArrival::Garbage),
        // One that lasts must not keep the loop busy.
        _ => Err(errno),
    }
}
