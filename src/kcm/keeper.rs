//! The keeper: starts agents, keeps their doors, and starts the acceptor again if it dies.
//!
//! It may become any user but root. Invariant: it acts on what the kernel says of a connection, never on an acceptor's word; it
//! waits for nobody, except for an acceptor that is to end, and not for long.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::Pid;

use super::acceptor::Acceptor;
use super::children::{Children, uncounted};
use super::doors::note_refusal;
use super::launch::AgentProgram;
use super::lines::{KcmLog, LogSeverity};
use super::manager::ServiceManager;
use super::options::KcmOptions;
use super::orders::{self, KeeperOrder};
use super::restart::{Legacy, NotRestarted, restart, successor};
use super::served::{NotServed, Peer, PeerRule};
use super::visitors::Visitors;
use crate::identity::counted_owner::CountedOwner;
use crate::sys::files::lossy_text;
use crate::sys::fork::{ForkResult, fork};
use crate::sys::passing::pair;
use crate::sys::process::{Process, end, readable};

/// How long an acceptor may take to end when it is told to.
const ENDING: Duration = Duration::from_secs(2);
/// An acceptor that lives less than this has failed; after so many in a row there is no other.
const WORTH_STARTING: Duration = Duration::from_secs(1);
const FAILURES: u32 = 5;
/// For how long nothing may happen.
const QUIET: Duration = Duration::from_secs(3600);
/// When a service manager that did not take a message is told again.
const LATE: Duration = Duration::from_secs(1);
/// So many processes of a user's earlier agents keep that user from another agent.
const LEFT: usize = 4;
/// The file of subordinate uids (subuid(5)).
const SUBUID: &str = "/etc/subuid";

/// Everything that outlives an acceptor.
#[derive(Debug)]
pub(super) struct DoorKeeper {
    pub options: KcmOptions,
    /// This program's file, for a restart.
    pub program_file: PathBuf,
    pub listener: UnixListener,
    pub agent: AgentProgram,
    /// Our ends of the doors, by the uid that each agent serves.
    pub doors: BTreeMap<u32, OwnedFd>,
    pub served: PeerRule,
    pub lines: KcmLog,
    pub manager: ServiceManager,
    pub signals: SignalFd,
    /// How many connections may wait at a door.
    pub queue: u32,
    /// The program that a restart executes.
    pub successor: Option<OwnedFd>,
    /// Of whom it has been told lately that no agent was started.
    pub refused: Visitors,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
enum KeeperEvent {
    Signal,
    Order,
}

/// What an acceptor's end is followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Another,
    End,
    Restart,
}

/// Why no agent is started.
#[derive(Debug, thiserror::Error)]
enum NotStarted {
    #[error("{0}")]
    NotServed(#[from] NotServed),
    #[error("uid {0}: no agent: there are {1} already (--agents)")]
    TooMany(u32, u32),
    #[error("uid {0}: no agent: {1} have {2} already (--agents-per-owner)")]
    TooManyOfOwner(u32, CountedOwner, u32),
    #[error(
        "uid {0}: no agent: {1} processes of agents that this user had before have not ended, such as stopped ones; kill them"
    )]
    Left(u32, usize),
    #[error(
        "uid {0}: no agent: {1} have {2} processes of agents, among them what agents have left behind, such as stopped ones; kill these"
    )]
    LeftOfOwner(u32, CountedOwner, usize),
    #[error("uid {0}: no agent: {1}")]
    Kernel(u32, Errno),
}

impl NotStarted {
    /// Whom the log has lines about: a user, or the first uid of a range.
    fn owner(&self) -> u32 {
        match self {
            Self::TooManyOfOwner(_, CountedOwner::Subordinates(first), _)
            | Self::LeftOfOwner(_, CountedOwner::Subordinates(first), _) => *first,
            Self::NotServed(_) => u32::MAX,
            Self::TooMany(uid, _)
            | Self::TooManyOfOwner(uid, ..)
            | Self::LeftOfOwner(uid, ..)
            | Self::Left(uid, _)
            | Self::Kernel(uid, _) => *uid,
        }
    }
}

impl DoorKeeper {
    /// Runs until SIGTERM, or until nothing goes any more.
    pub(super) fn keep(mut self) -> ExitCode {
        let mut children = if self.options.restarted {
            let agents = self.doors.len();
            self.lines.write(LogSeverity::Info, &format!("restarted; agents that go on: {agents}"));
            Children::found()
        } else {
            if let Some(missing) = uncounted() {
                self.lines.write(LogSeverity::Warning, missing);
            }
            Children::default()
        };
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let next = match pair().and_then(|ends| Ok((ends, fork()?))) {
                Ok(((here, there), ForkResult::Child)) => {
                    drop(here);
                    end(self.into_acceptor(there).run())
                }
                Ok(((here, there), ForkResult::Parent { child })) => {
                    drop(there);
                    self.manager.ready();
                    children.expect_acceptor(child);
                    self.attend(&here, child, &mut children)
                }
                Err(errno) => {
                    self.lines.write(LogSeverity::Warning, &format!("acceptor not started: {errno}"));
                    std::thread::sleep(WORTH_STARTING / 2);
                    Next::Another
                }
            };
            match next {
                Next::End => return ExitCode::SUCCESS,
                Next::Restart => self.restart(),
                Next::Another if begun.elapsed() >= WORTH_STARTING => failures = 0,
                Next::Another if failures < FAILURES => failures += 1,
                Next::Another => {
                    self.lines
                        .write(LogSeverity::Warning, "the acceptor ends again and again; nothing is served");
                    return ExitCode::FAILURE;
                }
            }
        }
    }

    /// What a restart hands on.
    fn legacy(&self) -> Legacy<'_> {
        Legacy { options: &self.options, listener: self.listener.as_fd(), doors: &self.doors }
    }

    /// Does not return, unless the program cannot be executed; then there is another acceptor.
    fn restart(&mut self) {
        let Some(program) = self.successor.take() else { return };
        let done = if self.manager.catch_up(&self.doors) {
            Err(NotRestarted::ManagerBusy)
        } else {
            restart(program, &self.legacy())
        };
        let Err(why) = done;
        self.lines.write(LogSeverity::Warning, &why.to_string());
    }

    /// Looks whether a restart will succeed, while everybody is still served.
    fn prepare_restart(&mut self) -> Option<Next> {
        match successor(&self.program_file, &self.legacy()) {
            Ok(program) => {
                self.successor = Some(program);
                Some(Next::Restart)
            }
            Err(why) => {
                self.lines.write(LogSeverity::Warning, &why.to_string());
                None
            }
        }
    }

    /// In the child: what the acceptor gets; all else is closed.
    fn into_acceptor(self, keeper: OwnedFd) -> Acceptor {
        let found = self.doors.into_iter().collect();
        let limits = (self.queue, self.options.connections);
        Acceptor::new(self.listener, keeper, found, (self.served, limits), self.lines.again())
    }

    /// Serves one acceptor until it has ended.
    fn attend(&mut self, acceptor: &OwnedFd, pid: Pid, children: &mut Children) -> Next {
        let process = Process::of_child(pid);
        let (mut next, mut over) = (Next::Another, None);
        while over.is_none_or(|over| Instant::now() < over) {
            let quiet = if self.manager.catch_up(&self.doors) { LATE } else { QUIET };
            let until = over.unwrap_or_else(|| Instant::now() + quiet);
            let events =
                [(KeeperEvent::Signal, self.signals.as_fd()), (KeeperEvent::Order, acceptor.as_fd())];
            for event in readable(&events, until).unwrap_or_default() {
                match event {
                    KeeperEvent::Signal => {
                        if let Some(wanted) = self.signal(children) {
                            // Whatever comes after it, SIGTERM counts.
                            next = if next == Next::End { next } else { wanted };
                            over.get_or_insert(Instant::now() + ENDING);
                            // It finishes what it does, and ends.
                            let _ = shutdown(acceptor.as_raw_fd(), Shutdown::Write);
                        }
                    }
                    KeeperEvent::Order => {
                        if !self.follow(acceptor.as_fd(), children) {
                            over = Some(Instant::now());
                        }
                    }
                }
            }
        }
        if next != Next::Another {
            children.dismiss_acceptor();
        }
        if let Ok(process) = process {
            let _ = process.kill();
            process.wait_for_end(ENDING);
        }
        children.reap(&mut self.lines);
        next
    }

    /// What the signals that are there ask for.
    fn signal(&mut self, children: &mut Children) -> Option<Next> {
        let (mut wanted, mut restart_wanted) = (None, false);
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo) {
                Ok(libc::SIGTERM | libc::SIGINT) => {
                    self.manager.stopping();
                    wanted = Some(Next::End);
                }
                Ok(libc::SIGHUP) => restart_wanted = true,
                _ => children.reap(&mut self.lines),
            }
        }
        if restart_wanted && wanted.is_none() { self.prepare_restart() } else { wanted }
    }

    /// Follows all orders that are there. Returns whether there may be more.
    fn follow(&mut self, acceptor: BorrowedFd<'_>, children: &mut Children) -> bool {
        let mut unwanted = Vec::new();
        let more = loop {
            match orders::next(acceptor) {
                Ok(Some(KeeperOrder::Start { connection, agents_end, our_end })) => {
                    // The acceptor learns of a refusal before the door is closed.
                    let started = self
                        .admit(connection.as_fd(), children)
                        .and_then(|peer| self.start(peer, &agents_end, children))
                        .inspect_err(|_| note_refusal(our_end.as_fd()));
                    drop(agents_end);
                    match started {
                        Ok(uid) => {
                            if !self.manager.keep(uid, our_end.as_fd()) {
                                let line = format!(
                                    "uid {uid}: the service manager has not taken the agent's door; \
                                     until it does, that agent ends with this service"
                                );
                                self.lines.write(LogSeverity::Warning, &line);
                            }
                            unwanted.extend(self.doors.insert(uid, our_end));
                        }
                        Err(refused) => {
                            if self.refused.may_be_told(refused.owner(), Instant::now()) {
                                self.lines.write(LogSeverity::Warning, &refused.to_string());
                            }
                            unwanted.push(our_end);
                        }
                    }
                    unwanted.push(connection);
                }
                Ok(Some(KeeperOrder::Forget(uid))) => {
                    self.manager.drop(uid);
                    unwanted.extend(self.doors.remove(&uid));
                }
                Ok(Some(KeeperOrder::Close(connection))) => unwanted.push(connection),
                Ok(None) => break false,
                Err(Errno::EAGAIN | Errno::EINTR) => break true,
                Err(errno) => {
                    let line = format!("acceptor: ended, since it says what no acceptor says ({errno})");
                    self.lines.write(LogSeverity::Warning, &line);
                    break false;
                }
            }
        };
        children.close(unwanted);
        more
    }

    /// Who has made this connection, if an agent may be started for that user now.
    fn admit(&mut self, connection: BorrowedFd<'_>, children: &mut Children) -> Result<Peer, NotStarted> {
        let peer = self.served.peer(connection)?;
        if self.doors.len() >= usize::try_from(self.options.agents).unwrap_or(usize::MAX) {
            return Err(NotStarted::TooMany(peer.uid, self.options.agents));
        }
        children.reap(&mut self.lines);
        self.check_owner(peer.uid, children)?;
        Ok(peer)
    }

    /// Starts an agent; returns the uid that it serves.
    fn start(&self, peer: Peer, agents_end: &OwnedFd, children: &mut Children) -> Result<u32, NotStarted> {
        let started = self.agent.start(peer, self.served, agents_end);
        let agent = started.map_err(|errno| NotStarted::Kernel(peer.uid, errno))?;
        children.add_agent(agent, peer.uid);
        Ok(peer.uid)
    }

    /// A user with a range of subordinate uids can be each of them.
    fn check_owner(&self, uid: u32, children: &mut Children) -> Result<(), NotStarted> {
        let ranges = lossy_text(SUBUID).unwrap_or_default();
        let Some(range) = CountedOwner::range_of(&ranges, uid) else {
            let left = children.of_users(&(uid..=uid));
            return if left < LEFT { Ok(()) } else { Err(NotStarted::Left(uid, left)) };
        };
        let (owner, most) = (CountedOwner::Subordinates(*range.start()), self.options.agents_per_owner);
        let limit = usize::try_from(most).unwrap_or(usize::MAX);
        // An agent with a door is such a process, too, if this process or the one before a restart has started it.
        let processes = children.of_users(&range);
        if self.doors.range(range).count() >= limit {
            Err(NotStarted::TooManyOfOwner(uid, owner, most))
        } else if processes >= limit {
            Err(NotStarted::LeftOfOwner(uid, owner, processes))
        } else {
            Ok(())
        }
    }
}
