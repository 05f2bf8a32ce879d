//! Two pipes between two of our own processes, one for each direction.
//!
//! Used between monitor and worker. Not a pair of sockets, since over local sockets the other end can send descriptors. The
//! kernel closes those that nobody takes in the process that reads, and closing them can take as long as the sender likes: a
//! socket may linger, a file may be on a file system of the sender's. What a pipe leaves: the kernel copies under the pipe's
//! lock, so an end that writes from a mapping of a file that never comes holds up the other (docs/threat-model.md).
//! Whoever writes must ignore SIGPIPE.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::pipe2;

use super::process::wait_until_ready;

/// One end: it reads what the other end has written.
#[derive(Debug)]
pub(crate) struct Duplex {
    incoming: File,
    outgoing: File,
}

impl Duplex {
    /// Both ends.
    ///
    /// # Errors
    /// EMFILE, ENFILE.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        // A full or empty pipe holds nobody up, also if the other end makes it smaller meanwhile.
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let (here, there) = (pipe2(flags)?, pipe2(flags)?);
        Ok((Self::over(here.0, there.1), Self::over(there.0, here.1)))
    }

    /// An end whose descriptors come from another process.
    pub(crate) fn over(incoming: OwnedFd, outgoing: OwnedFd) -> Self {
        Self { incoming: incoming.into(), outgoing: outgoing.into() }
    }

    /// The descriptors for [`Duplex::over`].
    pub(crate) fn into_descriptors(self) -> [OwnedFd; 2] {
        [self.incoming.into(), self.outgoing.into()]
    }

    /// The same end by other descriptors.
    ///
    /// # Errors
    /// EMFILE.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { incoming: self.incoming.try_clone()?, outgoing: self.outgoing.try_clone()? })
    }

    /// Readable when the other end has written, or is closed.
    pub(crate) fn incoming(&self) -> BorrowedFd<'_> {
        self.incoming.as_fd()
    }

    /// Reads as much as is there, as soon as something is; 0 bytes if the other end is closed.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; those of read(2).
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            wait(self.incoming.as_fd(), PollFlags::POLLIN, deadline)?;
            match self.incoming.read(buffer) {
                Err(error) if is_early(&error) => {}
                result => return result,
            }
        }
    }

    /// Writes as much as there is room for, as soon as there is some.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; EPIPE if the other end is closed.
    pub(crate) fn write(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<usize> {
        loop {
            wait(self.outgoing.as_fd(), PollFlags::POLLOUT, deadline)?;
            match self.outgoing.write(bytes) {
                Err(error) if is_early(&error) => {}
                result => return result,
            }
        }
    }
}

/// Also fails at the deadline if there is always something, as from an end that sends byte after byte.
fn wait(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> io::Result<()> {
    if Instant::now() < deadline && wait_until_ready(&mut [PollFd::new(fd, flags)], deadline)? {
        Ok(())
    } else {
        Err(ErrorKind::TimedOut.into())
    }
}

/// Whether the call is to be made again.
fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{ForkResult, REACHED, fork};
    use crate::sys::process::{end, reset_inherited};
    use nix::sys::signal::{SigHandler, Signal, signal};
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::io::IoSlice;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    fn at_once() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn each_end_reads_what_the_other_has_written() {
        let (mut here, mut there) = Duplex::pair().unwrap();
        for (one, other) in [(0, b"ping"), (1, b"pong")] {
            let (from, to) = if one == 0 { (&mut here, &mut there) } else { (&mut there, &mut here) };
            assert_eq!(from.write(other, soon()).unwrap(), 4);
            let mut read = [0; 8];
            assert_eq!(to.read(&mut read, soon()).unwrap(), 4);
            assert_eq!(&read[..4], other);
        }
        assert_eq!(here.read(&mut [0], at_once()).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(there);
        assert_eq!(here.read(&mut [0], soon()).unwrap(), 0);
        assert_eq!(here.write(b"x", soon()).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_process_of_ours_outlives_a_reader_that_has_closed_its_end() {
        let status = match fork().unwrap() {
            ForkResult::Child => {
                // The test's own runtime ignores it.
                // SAFETY: no function of ours.
                let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
                reset_inherited();
                let (mut here, there) = Duplex::pair().unwrap();
                drop(there);
                let written = here.write(b"x", soon()).map_err(|error| error.kind());
                end(if written == Err(ErrorKind::BrokenPipe) { REACHED } else { 1 })
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        };
        assert!(matches!(status, WaitStatus::Exited(_, REACHED)), "{status:?}");
    }

    #[test]
    fn no_end_waits_for_one_that_does_not_read_or_always_writes() {
        let (mut here, mut there) = Duplex::pair().unwrap();
        let mut written = 0;
        let full = loop {
            match here.write(&[7; 4096], Instant::now() + Duration::from_millis(500)) {
                Ok(length) => written += length,
                Err(error) => break error,
            }
        };
        assert!(full.kind() == ErrorKind::TimedOut && written >= 4096, "{full} after {written} bytes");
        assert_eq!(there.read(&mut [0], Instant::now()).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(there.read(&mut [0], soon()).unwrap(), 1);
    }

    #[test]
    fn no_descriptor_can_be_sent() {
        let (_here, there) = Duplex::pair().unwrap();
        let [_, outgoing] = there.into_descriptors();
        let sent = [outgoing.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&sent)];
        let refused =
            sendmsg::<()>(outgoing.as_raw_fd(), &[IoSlice::new(b"x")], &message, MsgFlags::empty(), None);
        assert_eq!(refused, Err(Errno::ENOTSOCK));
    }
}
