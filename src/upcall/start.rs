//! One attempt to start a worker, as the monitor sees it: the launcher looks for credentials and executes the worker.
//!
//! What can block a launcher is a file system of the requester's. Then it is left to be reaped, and another launcher
//! passes that place over (rules S8, S9).

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::assignment::{self, Assignment, Ends};
use super::cgroup::OwnerCgroup;
use super::launcher;
use super::verdict::Served;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{HostNames, MonitorEnd, Request};
use crate::sys::errno::errno_of;
use crate::sys::files::open_trusted;
use crate::sys::fork::{self, ForkResult};
use crate::sys::namespaces;
use crate::sys::process::{self, Process};
use crate::sys::sockets;

/// What one place may take, without even wanting a processor, of the time that a KDC gets.
const PLACE_SHARE: u32 = 6;
/// And at most.
const PLACE_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks whether a launcher that seems to be blocked only waits for a processor.
const RUNNABLE_LOOK: Duration = Duration::from_millis(200);

/// A launcher, and the worker that it becomes.
pub(super) struct Attempt {
    /// To be killed and reaped.
    pub(super) process: Process,
    /// Readable when the worker has said something.
    pub(super) waiting: UnixStream,
    /// For messages.
    pub(super) link: MonitorEnd,
    started: OwnedFd,
}

/// What a launcher is waited for.
#[derive(Clone, Copy)]
enum LauncherEvent {
    /// It has said something.
    Message,
    /// It has ended.
    End,
    /// It begins with a place, or has begun with all.
    Place,
}

/// How far a launcher has come.
pub(super) enum LaunchProgress {
    /// It is the worker, or has something to say.
    Done,
    /// This place, by the order in which places are looked at, does not answer.
    Blocked(usize),
}

impl Attempt {
    /// Starts it.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Launch`.
    pub(super) fn start(
        assignment: &Assignment<'_>,
        served: &Served,
        request: &Request,
    ) -> Result<Self, Failure> {
        let program = open_trusted(&assignment.config.worker, OFlag::O_PATH)
            .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, format_args!("worker: {error}")))?;
        let (ours, socket) = sockets::stream_pair().map_err(launch_failed)?;
        // The worker's end is closed by exec.
        let (started, starting) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(launch_failed)?;
        let waiting = ours.try_clone().map_err(|error| launch_failed(errno_of(&error)))?;
        // The request lies in the socket before anyone reads it: whoever fails early need not wait to be asked.
        let mut link = MonitorEnd::over(ours);
        link.send_request(request)
            .map_err(|error| Failure::new(Stage::Negotiate, Cause::WorkerFault, error))?;
        match fork(assignment.cgroup)? {
            ForkResult::Child => {
                drop((link, waiting, started));
                launcher::become_worker(assignment, served, program.into(), Ends { socket, starting })
            }
            ForkResult::Parent { child } => {
                let process = Process::open(child).map_err(launch_failed)?;
                Ok(Self { process, waiting, link, started })
            }
        }
    }

    /// Waits until the launcher has become the worker, has something to say, or is blocked; `limit` is that of a KDC.
    ///
    /// # Errors
    /// [`Failure`], also if it has not begun to look for credentials by the deadline.
    pub(super) fn progress(&self, limit: Duration, deadline: Instant) -> Result<LaunchProgress, Failure> {
        let limit = place_limit(limit);
        let events = [
            (LauncherEvent::Message, self.waiting.as_fd()),
            (LauncherEvent::End, self.process.as_fd()),
            (LauncherEvent::Place, self.started.as_fd()),
        ];
        let mut begun = 0;
        let mut since = Instant::now();
        loop {
            let patience = if begun == 0 { deadline } else { deadline.min(since + limit) };
            let look = patience.max(Instant::now() + RUNNABLE_LOOK);
            match process::readable(&events, look).map_err(launch_failed)?.first() {
                Some(LauncherEvent::Place) => match self.begun() {
                    0 => return Ok(LaunchProgress::Done),
                    more => (begun, since) = (begun + more, Instant::now()),
                },
                Some(LauncherEvent::Message | LauncherEvent::End) => return Ok(LaunchProgress::Done),
                None if Instant::now() < deadline && process::is_runnable(self.process.id()) => {}
                None if begun > 0 => return Ok(LaunchProgress::Blocked(begun - 1)),
                None => {
                    let detail = "the launcher did not begin its work in time: the machine is overloaded";
                    return Err(Failure::new(Stage::Launch, Cause::Deadline, detail));
                }
            }
        }
    }

    /// How many places more; 0 at the end.
    fn begun(&self) -> usize {
        let mut bytes = [0; 64];
        nix::unistd::read(&self.started, &mut bytes).unwrap_or(0)
    }
}

/// Where its owner's processes are accounted for, if that can be.
fn fork(cgroup: Option<&OwnerCgroup<'_>>) -> Result<ForkResult, Failure> {
    let confined = cgroup.and_then(|cgroup| cgroup.start_in(fork::fork_confined_in));
    confined.map_or_else(|| fork::fork_confined().map_err(launch_failed), Ok)
}

/// The name service's daemons know nothing of other networks, and must not hear of them (rule S23).
pub(super) fn names_in(served: &Served) -> HostNames {
    let ours = namespaces::own_network();
    let theirs = namespaces::identity(served.places.network.as_fd());
    if ours.is_ok() && ours == theirs { HostNames::AsTheHost } else { HostNames::FilesAndDns }
}

/// What one place may take; `limit` is that of a KDC.
pub(super) fn place_limit(limit: Duration) -> Duration {
    (limit / PLACE_SHARE).min(PLACE_LIMIT)
}

fn launch_failed(errno: Errno) -> Failure {
    assignment::launch_failed("start", errno)
}
