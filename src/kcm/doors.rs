//! The acceptor's ends of the doors, and when an agent may leave.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;

use crate::door::{CONNECTION, Leaving};
use crate::sys::passing::{receive_plain, send};

/// The door of one agent.
#[derive(Debug)]
pub(super) struct OwnEnd {
    end: OwnedFd,
    sent: Sent,
    /// When the agent was started; unknown if that was before this acceptor.
    pub started: Option<Instant>,
    /// The agent has sent descriptors, which are none of ours to close. Nothing is read or sent any more.
    pub foul: bool,
}

/// How many connections have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// All of them.
    All(u64),
    /// Those before this acceptor are not known, only those since an agent has last said how many it has received.
    SinceIts(Option<Leaving>, u64),
}

/// What an agent has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing yet.
    Nothing,
    /// It may leave: no connection is on its way to it.
    MayLeave,
    /// It cannot leave now.
    Stays,
    /// Its end is closed, or it has said something that no agent says.
    Ended(Option<Errno>),
}

impl OwnEnd {
    /// Of an agent that is being started.
    pub(super) fn new(end: OwnedFd) -> Self {
        Self { end, sent: Sent::All(0), started: Some(Instant::now()), foul: false }
    }

    /// Of an agent that had been started before.
    pub(super) fn found(end: OwnedFd) -> Self {
        Self { end, sent: Sent::SinceIts(None, 0), started: None, foul: false }
    }

    /// Passes a connection on.
    ///
    /// # Errors
    /// Those of [`send`].
    pub(super) fn pass(&mut self, connection: BorrowedFd<'_>) -> Result<(), Errno> {
        send(self.end.as_fd(), &[CONNECTION], &[connection])?;
        self.sent.one_more();
        Ok(())
    }

    /// Reads what the agent has said.
    pub(super) fn listen(&mut self) -> Said {
        let mut buffer = [0; Leaving::SIZE];
        match receive_plain(self.end.as_fd(), &mut buffer) {
            Ok(0) => Said::Ended(None),
            Ok(length) => match buffer.get(..length).and_then(Leaving::parse) {
                Some(leaving) if self.sent.allows(leaving) => Said::MayLeave,
                Some(_) => Said::Stays,
                None => Said::Ended(Some(Errno::EBADMSG)),
            },
            Err(Errno::EAGAIN | Errno::EINTR) => Said::Nothing,
            Err(Errno::EPROTO) => {
                self.foul = true;
                Said::Stays
            }
            Err(Errno::ECONNRESET) => Said::Ended(None),
            Err(errno) => Said::Ended(Some(errno)),
        }
    }
}

impl AsFd for OwnEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl Sent {
    fn one_more(&mut self) {
        match self {
            Self::All(count) | Self::SinceIts(_, count) => *count = count.saturating_add(1),
        }
    }

    /// Whether nothing is on its way. If not all is known, an agent that says the same twice, with nothing sent in between, has
    /// looked in between and found nothing.
    fn allows(&mut self, leaving: Leaving) -> bool {
        match self {
            Self::All(count) => *count == leaving.received,
            Self::SinceIts(Some(last), 0) if *last == leaving => true,
            Self::SinceIts(..) => {
                *self = Self::SinceIts(Some(leaving), 0);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::passing::{pair, receive};
    use std::os::unix::net::UnixStream;

    fn say(agent: &OwnedFd, received: u64) {
        send(agent.as_fd(), &Leaving { received }.encode(), &[]).unwrap();
    }

    #[test]
    fn an_agent_leaves_only_when_it_has_every_connection() {
        let (ours, agents) = pair().unwrap();
        let mut door = OwnEnd::new(ours);
        let (connection, _client) = UnixStream::pair().unwrap();
        assert_eq!(door.listen(), Said::Nothing);
        door.pass(connection.as_fd()).unwrap();
        say(&agents, 0);
        assert_eq!(door.listen(), Said::Stays);
        let (length, descriptors) = receive(agents.as_fd(), &mut [0; 4]).unwrap();
        assert_eq!((length, descriptors.len()), (1, 1));
        say(&agents, 2);
        assert_eq!(door.listen(), Said::Stays);
        say(&agents, 1);
        assert_eq!(door.listen(), Said::MayLeave);
        drop(agents);
        assert_eq!(door.listen(), Said::Ended(None));
        assert_eq!(door.pass(connection.as_fd()), Err(Errno::EPIPE));
    }

    #[test]
    fn an_agent_of_before_leaves_when_it_has_looked_twice() {
        let (ours, agents) = pair().unwrap();
        let mut door = OwnEnd::found(ours);
        let (connection, _client) = UnixStream::pair().unwrap();
        // With and without something sent since, as the agent has or has not received it.
        for (said, passed, answer) in [
            (7, 0, Said::Stays),
            (8, 0, Said::Stays),
            (8, 1, Said::Stays),
            (9, 0, Said::Stays),
            (9, 0, Said::MayLeave),
        ] {
            for _ in 0..passed {
                door.pass(connection.as_fd()).unwrap();
            }
            say(&agents, said);
            assert_eq!(door.listen(), answer, "{said} {passed}");
        }
    }

    #[test]
    fn an_agent_that_says_anything_else_has_no_door_any_more() {
        for message in [&b"x"[..], &[2; 8], &[2; 10], &[1; 9]] {
            let (ours, agents) = pair().unwrap();
            let mut door = OwnEnd::new(ours);
            send(agents.as_fd(), message, &[]).unwrap();
            assert!(matches!(door.listen(), Said::Ended(Some(_))), "{message:?}");
        }
        let (ours, agents) = pair().unwrap();
        let mut door = OwnEnd::new(ours);
        send(agents.as_fd(), &Leaving { received: 0 }.encode(), &[agents.as_fd()]).unwrap();
        assert_eq!(door.listen(), Said::Stays);
        assert!(door.foul);
    }
}
