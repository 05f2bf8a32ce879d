//! One renewal under way: the old ticket goes to a worker by a pipe, the answer comes by another, and neither is waited for.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::unistd::pipe2;

use super::starter::Starter;
use crate::agent::codec::CredentialId;
use crate::agent::peer::ClientScope;
use crate::secret::Secret;

/// What has come of an errand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet.
    UnderWay,
    /// The answer is there.
    Answered,
    /// No answer in time.
    Late,
    /// More than an answer may have.
    TooLong,
}

/// A renewal under way.
#[derive(Debug)]
pub(super) struct Errand {
    scope: ClientScope,
    ticket: CredentialId,
    outgoing: Secret,
    sent: usize,
    /// Closed when all is sent, or the worker wants no more.
    to: Option<File>,
    from: File,
    incoming: Secret,
    got: usize,
    until: Instant,
}

impl Errand {
    /// Has a worker started for this ticket, whose `message` it gets. An answer has `room` bytes at most.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET if the starter has ended; EMFILE, ENFILE, EAGAIN, ENOBUFS, ENOMEM.
    pub(super) fn begin(
        starter: &Starter,
        (scope, ticket): (ClientScope, CredentialId),
        message: Secret,
        room: usize,
        until: Instant,
    ) -> Result<Self, Errno> {
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let (order, to): (OwnedFd, OwnedFd) = pipe2(flags)?;
        let (from, answer): (OwnedFd, OwnedFd) = pipe2(flags)?;
        starter.start([&order, &answer])?;
        let mut errand = Self {
            scope,
            ticket,
            outgoing: message,
            sent: 0,
            to: Some(to.into()),
            from: from.into(),
            // One more, by which an answer that is too long is known.
            incoming: Secret::new(vec![0; room.saturating_add(1)]),
            got: 0,
            until,
        };
        errand.send();
        Ok(errand)
    }

    /// Whose ticket it is.
    pub(super) fn scope(&self) -> &ClientScope {
        &self.scope
    }

    /// The ticket that was sent.
    pub(super) fn ticket(&self) -> CredentialId {
        self.ticket
    }

    /// When an answer comes too late.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// What it waits for.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let to = self.to.iter().map(|to| (to.as_fd(), PollFlags::POLLOUT));
        to.chain([(self.from.as_fd(), PollFlags::POLLIN)])
    }

    /// What has come so far.
    pub(super) fn said(&self) -> &[u8] {
        self.incoming.expose().get(..self.got).unwrap_or_default()
    }

    /// Sends and reads what can be.
    pub(super) fn go_on(&mut self, now: Instant) -> Progress {
        self.send();
        match self.receive() {
            Progress::UnderWay if now >= self.until => Progress::Late,
            progress => progress,
        }
    }

    fn send(&mut self) {
        while let Some(to) = &mut self.to {
            let rest = self.outgoing.expose().get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match to.write(rest) {
                Ok(written) => self.sent = self.sent.saturating_add(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What a worker says that has read no further is still heard.
                Err(_) => break,
            }
        }
        self.to = None;
    }

    fn receive(&mut self) -> Progress {
        loop {
            let free = self.incoming.expose_mut().get_mut(self.got..).unwrap_or_default();
            if free.is_empty() {
                return Progress::TooLong;
            }
            match self.from.read(free) {
                Ok(0) => return Progress::Answered,
                Ok(more) => self.got = self.got.saturating_add(more),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::UnderWay,
                Err(_) => return Progress::Answered,
            }
        }
    }
}
