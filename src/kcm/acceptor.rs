//! The acceptor: takes connections, finds out whose they are, and passes each on by the door of its user's agent.
//!
//! It has no right and reaches no file. Invariant: it reads nothing from a connection and waits for no agent; a connection that
//! cannot be passed on at once is closed.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use super::confinement::confine_acceptor;
use super::doors::{OwnEnd, Said};
use super::lines::{KcmLog, LogSeverity};
use super::orders;
use super::served::{NotServed, PeerRule};
use super::visitors::{PauseReason, SHORTEST_LIFE, Visitors};
use crate::sys::errno::errno_of;
use crate::sys::passing::{may_hold_descriptors, pair, refuse_descriptors};
use crate::sys::process::happened;

/// Connections that are taken before agents are heard again.
const AT_ONCE: usize = 64;
/// How long none are taken when there is no room for another descriptor.
const NO_ROOM: Duration = Duration::from_millis(100);
/// How long the keeper may take to read an order.
const PATIENCE: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(3600);
/// Half of what one connection on its way takes of a socket's buffer, measured (766 bytes): the kernel doubles what is set.
const MESSAGE_SIZE: usize = 380;

/// The acceptor.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: UnixListener,
    keeper: OwnedFd,
    doors: BTreeMap<u32, OwnEnd>,
    visitors: Visitors,
    served: PeerRule,
    lines: KcmLog,
    /// Connections that may wait at a door.
    queue: u32,
    /// Connections of a user in a second.
    connections: u32,
    /// When connections are taken again.
    full_until: Option<Instant>,
}

/// Who wants something.
#[derive(Debug, Clone, Copy)]
enum AcceptorEvent {
    Connection,
    Keeper,
    Agent(u32),
    /// An agent that is not listened to any more has ended.
    FoulEnd(u32),
}

/// The keeper has ended or wants us to.
#[derive(Debug)]
struct Over;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
enum Unserved {
    #[error("{0}")]
    NotServed(#[from] NotServed),
    #[error("more than {0} in a second (--connections)")]
    TooFast(u32),
    #[error("its agents end soon after their start, and no other is started for a while")]
    Paused,
    #[error("no agent may be started for it, as a line before says; the next one is tried after a second")]
    Refused,
    #[error("its agent does not take them")]
    Full,
    #[error("its agent has sent what no agent sends; until it ends, nothing is served")]
    Foul,
    #[error("{0}")]
    Kernel(Errno),
}

impl Acceptor {
    pub(super) fn new(
        listener: UnixListener,
        keeper: OwnedFd,
        found: Vec<(u32, OwnedFd)>,
        (served, (queue, connections)): (PeerRule, (u32, u32)),
        lines: KcmLog,
    ) -> Self {
        let doors = found.into_iter().map(|(uid, end)| (uid, OwnEnd::found(end))).collect();
        let visitors = Visitors::new(connections);
        Self { listener, keeper, doors, visitors, served, lines, queue, connections, full_until: None }
    }

    /// Runs until the keeper wants its end. Returns the exit status.
    pub(super) fn run(mut self) -> i32 {
        if let Err(failure) = confine_acceptor(self.served.own) {
            self.lines.write(LogSeverity::Warning, &format!("acceptor: {failure}"));
            return 1;
        }
        while self.turn().is_ok() {}
        0
    }

    fn turn(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        let full = self.full_until.filter(|&until| now < until);
        let read = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
        let agents = self.doors.iter().map(|(&uid, door)| match door.foul {
            false => (AcceptorEvent::Agent(uid), read(door.as_fd())),
            true => (AcceptorEvent::FoulEnd(uid), PollFd::new(door.as_fd(), PollFlags::empty())),
        });
        let listener = full.is_none().then(|| (AcceptorEvent::Connection, read(self.listener.as_fd())));
        let keeper = (AcceptorEvent::Keeper, read(self.keeper.as_fd()));
        let events = std::iter::once(keeper).chain(agents).chain(listener).collect();
        for event in happened(events, full.unwrap_or(now + QUIET)).unwrap_or_default() {
            match event {
                // It says nothing.
                AcceptorEvent::Keeper => return Err(Over),
                AcceptorEvent::Agent(uid) => self.listen(uid)?,
                AcceptorEvent::FoulEnd(uid) => self.ended(uid)?,
                AcceptorEvent::Connection => self.take()?,
            }
        }
        Ok(())
    }

    /// Hears one thing that an agent says.
    fn listen(&mut self, uid: u32) -> Result<(), Over> {
        let Some(door) = self.doors.get_mut(&uid) else { return Ok(()) };
        match door.listen() {
            Said::Nothing | Said::Stays => Ok(()),
            Said::MayLeave => self.forget(uid),
            Said::Ended(None) => self.ended(uid),
            Said::Ended(Some(errno)) => {
                self.tell(uid, &format!("agent dismissed: it says what no agent says ({errno})"));
                self.ended(uid)
            }
        }
    }

    /// An agent has ended without a word, or was not started.
    fn ended(&mut self, uid: u32) -> Result<(), Over> {
        let now = Instant::now();
        if self.doors.get(&uid).is_some_and(OwnEnd::was_refused) {
            self.visitors.agent_refused(uid, now);
            return self.forget(uid);
        }
        let started = self.doors.get(&uid).and_then(|door| door.started);
        if let Some(pause) = self.visitors.agent_ended(uid, started, now) {
            let (shortest, seconds) = (SHORTEST_LIFE.as_secs(), pause.as_secs());
            self.tell(
                uid,
                &format!("agent ended within {shortest} s of its start; no other for {seconds} s"),
            );
        }
        self.forget(uid)
    }

    /// Closes a door. Ours goes first, so that the keeper closes the last.
    fn forget(&mut self, uid: u32) -> Result<(), Over> {
        self.doors.remove(&uid);
        order(self.keeper.as_fd(), |keeper| orders::forget(keeper, uid))
    }

    /// Takes connections that wait.
    fn take(&mut self) -> Result<(), Over> {
        for _ in 0..AT_ONCE {
            let connection = match self.listener.accept() {
                Ok((connection, _)) => connection,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => match errno_of(&error) {
                    // Their client has gone.
                    Errno::ECONNABORTED | Errno::EINTR => continue,
                    errno => {
                        self.lines.write(
                            LogSeverity::Warning,
                            &format!("no connections are taken for now: {errno}"),
                        );
                        self.full_until = Instant::now().checked_add(NO_ROOM);
                        return Ok(());
                    }
                },
            };
            let peer = self.served.peer(connection.as_fd());
            let passed = match peer {
                Ok(peer) => self.pass(peer.uid, &connection)?,
                Err(unknown) => Err(unknown.into()),
            };
            if let Err(unserved) = passed {
                let whose = peer.map_or(u32::MAX, |peer| peer.uid);
                self.tell(whose, &format!("connection closed: {unserved}"));
                self.close(connection)?;
            }
        }
        Ok(())
    }

    /// Passes a connection on, to an agent that is there or to a new one.
    fn pass(&mut self, uid: u32, connection: &UnixStream) -> Result<Result<(), Unserved>, Over> {
        if self.visitors.is_too_fast(uid, Instant::now()) {
            return Ok(Err(Unserved::TooFast(self.connections)));
        }
        if let Err(error) = connection.set_nonblocking(true) {
            return Ok(Err(Unserved::Kernel(errno_of(&error))));
        }
        if let Some(door) = self.doors.get_mut(&uid) {
            if door.foul {
                return Ok(Err(Unserved::Foul));
            }
            match door.pass(connection.as_fd()) {
                Ok(()) => return Ok(Ok(())),
                Err(Errno::EAGAIN | Errno::ETOOMANYREFS | Errno::ENOBUFS) => return Ok(Err(Unserved::Full)),
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => self.ended(uid)?,
                Err(errno) => return Ok(Err(Unserved::Kernel(errno))),
            }
        }
        match self.visitors.paused(uid, Instant::now()) {
            Some(PauseReason::Ended) => Ok(Err(Unserved::Paused)),
            Some(PauseReason::Refused) => Ok(Err(Unserved::Refused)),
            None => self.start(uid, connection),
        }
    }

    /// Has an agent started, which finds the connection at its door.
    fn start(&mut self, uid: u32, connection: &UnixStream) -> Result<Result<(), Unserved>, Over> {
        let mut door = match self.door() {
            Ok(ends) => ends,
            Err(errno) => return Ok(Err(Unserved::Kernel(errno))),
        };
        if let Err(errno) = door.0.pass(connection.as_fd()) {
            return Ok(Err(Unserved::Kernel(errno)));
        }
        let descriptors = [connection.as_fd(), door.1.as_fd(), door.0.as_fd()];
        let mut refused = None;
        order(self.keeper.as_fd(), |keeper| match orders::start(keeper, descriptors) {
            Err(errno @ (Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM)) => {
                refused = Some(errno);
                Ok(())
            }
            sent => sent,
        })?;
        if let Some(errno) = refused {
            return Ok(Err(Unserved::Kernel(errno)));
        }
        self.doors.insert(uid, door.0);
        Ok(Ok(()))
    }

    /// Both ends of a door: ours, and the agent's.
    fn door(&self) -> Result<(OwnEnd, OwnedFd), Errno> {
        let (ours, agents) = pair()?;
        // What waits at the door is charged to our end.
        let size = MESSAGE_SIZE.saturating_mul(usize::try_from(self.queue).unwrap_or(usize::MAX));
        setsockopt(&ours, sockopt::SndBuf, &size)?;
        // An older kernel does not know how.
        let _ = refuse_descriptors(ours.as_fd());
        Ok((OwnEnd::new(ours), agents))
    }

    /// Closes a connection that nobody gets. Its client learns it at once, even if closing takes long.
    fn close(&self, connection: UnixStream) -> Result<(), Over> {
        let _ = connection.shutdown(Shutdown::Both);
        if !may_hold_descriptors(connection.as_fd()) {
            return Ok(());
        }
        order(self.keeper.as_fd(), |keeper| match orders::close(keeper, connection.as_fd()) {
            // There is no way to have another close it.
            Err(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => Ok(()),
            sent => sent,
        })
    }

    /// Writes a line about a user, unless there has just been one.
    fn tell(&mut self, uid: u32, what: &str) {
        if self.visitors.may_be_told(uid, Instant::now()) {
            self.lines.write(LogSeverity::Warning, &format!("uid {uid}: {what}"));
        }
    }
}

/// Sends an order, as soon as the keeper has room for it.
fn order(
    keeper: BorrowedFd<'_>,
    mut send: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Over> {
    let begun = Instant::now();
    loop {
        match send(keeper) {
            Ok(()) => return Ok(()),
            Err(Errno::EAGAIN) if begun.elapsed() < PATIENCE => {
                let timeout = PollTimeout::from(100u8);
                let _ = poll(&mut [PollFd::new(keeper, PollFlags::POLLOUT)], timeout);
            }
            Err(_) => return Err(Over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Leaving;
    use crate::kcm::orders::{KeeperOrder, next};
    use crate::sys::passing::send;

    #[test]
    fn an_agent_that_is_not_listened_to_is_forgotten_when_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let ((keeper, ours), (end, agent)) = (pair().unwrap(), pair().unwrap());
        let null = std::fs::File::open("/dev/null").unwrap();
        send(agent.as_fd(), &Leaving { received: 0 }.encode(), &[null.as_fd()]).unwrap();
        let served = PeerRule::new(nix::unistd::Uid::from_raw(4_000_781));
        let lines = KcmLog::open(directory.path().join("log"));
        let mut acceptor = Acceptor::new(listener, ours, vec![(7, end)], (served, (8, 8)), lines);
        let turn = |acceptor: &mut Acceptor| {
            // Until then it takes no connection, and then the turn is over.
            acceptor.full_until = Instant::now().checked_add(NO_ROOM);
            acceptor.turn().unwrap();
        };
        turn(&mut acceptor);
        assert!(acceptor.doors.get(&7).unwrap().foul);
        turn(&mut acceptor);
        assert!(matches!(next(keeper.as_fd()), Err(Errno::EAGAIN)));
        drop(agent);
        turn(&mut acceptor);
        assert!(matches!(next(keeper.as_fd()), Ok(Some(KeeperOrder::Forget(7)))));
        assert!(acceptor.doors.is_empty());
    }
}
