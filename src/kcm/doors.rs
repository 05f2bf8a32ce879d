//! The acceptor's ends of the doors, and when an agent may leave.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::door::{CONNECTION, Leaving};
use crate::sys::passing::{send, take_plain};

/// The door of one agent.
#[derive(Debug)]
pub(super) struct OwnEnd {
    end: OwnedFd,
    /// How many connections have been sent.
    sent: u64,
    /// When the agent was started; unknown if that was before this acceptor.
    pub started: Option<Instant>,
    /// The agent has sent descriptors, which are none of ours to close. Nothing is read or sent any more until it ends.
    pub foul: bool,
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
        Self { end, sent: 0, started: Some(Instant::now()), foul: false }
    }

    /// Of an agent that had been started before.
    pub(super) fn found(end: OwnedFd) -> Self {
        let sent = noted(end.as_fd());
        Self { end, sent, started: None, foul: false }
    }

    /// Passes a connection on.
    ///
    /// # Errors
    /// Those of [`send`].
    pub(super) fn pass(&mut self, connection: BorrowedFd<'_>) -> Result<(), Errno> {
        // Noted first: if this process dies in between, its successor takes an agent for busier than it is, and none is dismissed
        // with a connection on its way.
        note(self.end.as_fd(), self.sent.saturating_add(1))?;
        if let Err(errno) = send(self.end.as_fd(), &[CONNECTION], &[connection]) {
            // Else a successor would wait for ever for an agent to get it.
            let _ = note(self.end.as_fd(), self.sent);
            return Err(errno);
        }
        self.sent = self.sent.saturating_add(1);
        Ok(())
    }

    /// Whether no agent was started, because there must not be one.
    pub(super) fn was_refused(&self) -> bool {
        getsockopt(&self.end, sockopt::SendTimeout).is_ok_and(|time| time.tv_sec() > 0)
    }

    /// Reads what the agent has said.
    pub(super) fn listen(&mut self) -> Said {
        let mut buffer = [0; Leaving::SIZE];
        match take_plain(self.end.as_fd(), &mut buffer) {
            Ok(0) => Said::Ended(None),
            Ok(length) => match buffer.get(..length).and_then(Leaving::parse) {
                Some(leaving) if self.sent == leaving.received => Said::MayLeave,
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

/// Notes with the socket that no agent is started, which an agent, who has the other end, cannot: as the time that a send would
/// wait, which none of ours does. By the keeper.
pub(super) fn note_refusal(end: BorrowedFd<'_>) {
    // Without it, the acceptor takes it for an agent that ended at once.
    let _ = setsockopt(&end, sockopt::SendTimeout, &TimeVal::new(1, 0));
}

/// Keeps the number with the socket, where the next acceptor finds it, whatever becomes of this one: as the time in seconds that a
/// receive would wait, which none of ours does.
fn note(end: BorrowedFd<'_>, sent: u64) -> Result<(), Errno> {
    let seconds = i64::try_from(sent).map_err(|_| Errno::ERANGE)?;
    setsockopt(&end, sockopt::ReceiveTimeout, &TimeVal::new(seconds, 0))
}

fn noted(end: BorrowedFd<'_>) -> u64 {
    let time = getsockopt(&end, sockopt::ReceiveTimeout).map_or(0, |time| time.tv_sec());
    u64::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::passing::{pair, take};
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
        let (length, descriptors) = take(agents.as_fd(), &mut [0; 4]).unwrap();
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
    fn whoever_takes_a_door_over_knows_how_many_connections_were_sent() {
        let (ours, agents) = pair().unwrap();
        let mut door = OwnEnd::new(ours);
        let (connection, _client) = UnixStream::pair().unwrap();
        let receive_all = || while take(agents.as_fd(), &mut [0; 4]).is_ok() {};
        for sent in 1..=1000 {
            door.pass(connection.as_fd()).unwrap();
            receive_all();
            let mut found = OwnEnd::found(door.end.try_clone().unwrap());
            say(&agents, sent - 1);
            assert_eq!(found.listen(), Said::Stays, "{sent}");
            say(&agents, sent);
            assert_eq!(found.listen(), Said::MayLeave, "{sent}");
        }
        note(door.as_fd(), 1 << 50).unwrap();
        assert_eq!(noted(door.as_fd()), 1 << 50);
    }

    #[test]
    fn a_connection_that_was_not_sent_does_not_keep_an_agent() {
        let (ours, agents) = pair().unwrap();
        setsockopt(&ours, sockopt::SndBuf, &4096).unwrap();
        let mut door = OwnEnd::new(ours);
        let (connection, _client) = UnixStream::pair().unwrap();
        let sent = (0..1000).find(|_| door.pass(connection.as_fd()).is_err()).unwrap();
        assert!(sent > 0);
        let mut found = OwnEnd::found(door.end.try_clone().unwrap());
        let received = std::iter::from_fn(|| take(agents.as_fd(), &mut [0; 4]).ok()).count();
        assert_eq!(received, sent);
        say(&agents, u64::try_from(received).unwrap());
        assert_eq!(found.listen(), Said::MayLeave);
    }

    #[test]
    fn a_refusal_is_the_keepers_word_and_not_an_agents() {
        let (ours, agents) = pair().unwrap();
        let door = OwnEnd::new(ours.try_clone().unwrap());
        note_refusal(agents.as_fd());
        assert!(!door.was_refused());
        note_refusal(ours.as_fd());
        assert!(door.was_refused());
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
