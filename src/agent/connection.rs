//! One connection: requests come, replies go, and neither is waited for.
//!
//! Called by the event loop when the connection is ready. Invariant: it holds one request or one reply at a time, of a size
//! that was checked before there was a buffer for it; what it holds is zeroed.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::poll::PollFlags;

use super::codec::{Header, KcmReply, Opcode};
use super::limits::{LimitMet, StoreLimits};
use super::operations::KcmRefusal;
use super::peer::ClientScope;
use crate::secret::Secret;

/// What has come of a request.
#[derive(Debug)]
enum Incoming {
    Head { bytes: [u8; Header::SIZE], got: usize },
    Parameters { opcode: Opcode, bytes: Secret, got: usize },
}

impl Incoming {
    const NOTHING: Self = Self::Head { bytes: [0; Header::SIZE], got: 0 };
}

/// What reading has led to.
#[derive(Debug)]
pub(super) enum ReadSoFar {
    /// A whole request.
    Request(Opcode, Secret),
    /// A request that is not read. The connection ends with the reply, since the rest cannot be told from another request.
    Refused(KcmRefusal),
    /// Not all of it is there.
    NotYet,
    /// The other end is closed.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: UnixStream,
    scope: ClientScope,
    incoming: Incoming,
    outgoing: Option<(KcmReply, usize)>,
    /// When something was last read or written.
    moved: Instant,
    ends_with_reply: bool,
    postponed: Option<Postponed>,
}

/// A request that could not be done yet.
#[derive(Debug)]
struct Postponed {
    opcode: Opcode,
    parameters: Secret,
    /// When it was first tried.
    since: Instant,
    /// When it is to be tried again.
    due: Instant,
}

impl Connection {
    /// A connection that was just made.
    pub(super) fn new(socket: UnixStream, scope: ClientScope, now: Instant) -> Self {
        Self {
            socket,
            scope,
            incoming: Incoming::NOTHING,
            outgoing: None,
            moved: now,
            ends_with_reply: false,
            postponed: None,
        }
    }

    /// Whose caches it may reach.
    pub(super) fn scope(&self) -> &ClientScope {
        &self.scope
    }

    /// What it waits for.
    pub(super) fn awaited(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = if self.outgoing.is_some() { PollFlags::POLLOUT } else { PollFlags::POLLIN };
        (self.socket.as_fd(), flags)
    }

    /// Whether no request has begun and no reply is on its way.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.incoming, Incoming::Head { got: 0, .. })
            && self.outgoing.is_none()
            && self.postponed.is_none()
    }

    /// When something was last read or written.
    pub(super) fn moved(&self) -> Instant {
        self.moved
    }

    /// Bytes that it keeps in memory.
    pub(super) fn held(&self) -> usize {
        let incoming = match &self.incoming {
            Incoming::Head { .. } => self.postponed.as_ref().map_or(0, |request| request.parameters.len()),
            Incoming::Parameters { bytes, .. } => bytes.len(),
        };
        incoming.saturating_add(self.outgoing.as_ref().map_or(0, |(reply, _)| reply.as_slice().len()))
    }

    /// Reads what is there, up to the end of a request. `room` is what may still be kept in memory.
    pub(super) fn receive(&mut self, limits: &StoreLimits, room: usize, now: Instant) -> ReadSoFar {
        loop {
            let (buffer, got) = match &mut self.incoming {
                Incoming::Head { bytes, got } => (bytes.as_mut_slice(), got),
                Incoming::Parameters { bytes, got, .. } => (bytes.expose_mut(), got),
            };
            let missing = buffer.get_mut(*got..).unwrap_or_default();
            if missing.is_empty() {
                match self.completed(limits, room) {
                    Some(received) => return received,
                    None => continue,
                }
            }
            match self.socket.read(missing) {
                Ok(0) => return ReadSoFar::Closed,
                Ok(more) => *got = got.saturating_add(more),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return ReadSoFar::NotYet,
                Err(_) => return ReadSoFar::Closed,
            }
            self.moved = now;
        }
    }

    /// What follows a complete part; `None` if it is the parameters.
    fn completed(&mut self, limits: &StoreLimits, room: usize) -> Option<ReadSoFar> {
        let header = match std::mem::replace(&mut self.incoming, Incoming::NOTHING) {
            Incoming::Parameters { opcode, bytes, .. } => return Some(ReadSoFar::Request(opcode, bytes)),
            Incoming::Head { bytes, .. } => Header::read(bytes),
        };
        match header.map_err(KcmRefusal::from).and_then(|header| admitted(header, limits, room)) {
            Ok(Header { parameters, opcode }) => {
                let bytes = Secret::new(vec![0; parameters]);
                self.incoming = Incoming::Parameters { opcode, bytes, got: 0 };
                None
            }
            Err(refusal) => {
                self.ends_with_reply = true;
                Some(ReadSoFar::Refused(refusal))
            }
        }
    }

    /// Keeps a request that is to be tried again then. Nothing else is read meanwhile.
    pub(super) fn postpone(&mut self, (opcode, parameters): (Opcode, Secret), since: Instant, due: Instant) {
        self.postponed = Some(Postponed { opcode, parameters, since, due });
    }

    /// When its request is to be tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.postponed.as_ref().map(|request| request.due)
    }

    /// The request that is to be tried again by now, and when it was first tried.
    pub(super) fn resume(&mut self, now: Instant) -> Option<(Opcode, Secret, Instant)> {
        let request = self.postponed.take_if(|request| request.due <= now)?;
        Some((request.opcode, request.parameters, request.since))
    }

    /// Begins to send a reply.
    pub(super) fn reply(&mut self, reply: KcmReply, now: Instant) {
        self.outgoing = Some((reply, 0));
        self.moved = now;
    }

    /// Writes as much of the reply as there is room for. Returns whether the connection goes on.
    pub(super) fn send(&mut self, now: Instant) -> bool {
        while let Some((reply, sent)) = &mut self.outgoing {
            let rest = reply.as_slice().get(*sent..).unwrap_or_default();
            if rest.is_empty() {
                self.outgoing = None;
                return !self.ends_with_reply;
            }
            match self.socket.write(rest) {
                Ok(more) => *sent = sent.saturating_add(more),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
            self.moved = now;
        }
        true
    }

    /// Lets no further request come: whoever writes one finds the connection closed and makes another. Those that have come
    /// are to be answered, after which the connection is to be closed.
    pub(super) fn refuse_more(&self) {
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

/// A request of an allowed size, for which there is room.
fn admitted(header: Header, limits: &StoreLimits, room: usize) -> Result<Header, KcmRefusal> {
    let (size, limit) = (header.parameters, limits.request(header.opcode));
    if size > limit {
        Err(LimitMet::RequestSize { size, limit }.into())
    } else if size > room {
        Err(LimitMet::UnderWay { size, limit: super::limits::UNDER_WAY }.into())
    } else {
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_connection_that_is_printed_shows_no_secret() {
        let limits = StoreLimits { caches: 1, tickets: 1, ticket_size: 100, memory: 1000 };
        let (mut client, socket) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let now = Instant::now();
        let mut connection = Connection::new(socket, ClientScope::User, now);
        let expect_nothing = |printed: String| assert!(!printed.contains("215, 215"), "{printed}");
        client.write_all(&[&[0, 0, 0, 12, 2, 0, 0, 6][..], &[215; 7]].concat()).unwrap();
        assert!(matches!(connection.receive(&limits, 1000, now), ReadSoFar::NotYet));
        expect_nothing(format!("{connection:?}"));
        client.write_all(&[215]).unwrap();
        let received = connection.receive(&limits, 1000, now);
        expect_nothing(format!("{received:?}"));
        let ReadSoFar::Request(opcode, parameters) = received else { panic!("{received:?}") };
        assert_eq!(parameters.expose(), [215; 8]);
        connection.postpone((opcode, parameters), now, now + Duration::from_secs(1));
        connection.reply(KcmReply::bytes(&[215; 8]), now);
        expect_nothing(format!("{connection:?}"));
    }
}
