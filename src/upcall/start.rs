//! One attempt to start a worker, seen by the monitor: a launcher looks for credentials and becomes the worker.
//!
//! A file system of the requester's can block a launcher. The blocked one is left to be reaped, and another one skips
//! that place (rules S8, S9).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::assignment::{self, Assignment, Ends};
use super::cgroup::OwnerCgroup;
use super::launcher;
use super::verdict::Served;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{HostNames, MonitorEnd, Request};
use crate::sys::duplex::Duplex;
use crate::sys::errno::errno_of;
use crate::sys::files::open_trusted;
use crate::sys::fork::{self, ForkResult};
use crate::sys::namespaces;
use crate::sys::process::{self, Process};

/// The part of the KDC's time that a launcher may be blocked at one place, not waiting for a processor.
const PLACE_SHARE: u32 = 6;
/// Upper bound of that time.
const PLACE_LIMIT: Duration = Duration::from_secs(5);
/// Interval of checks whether a launcher that seems blocked only waits for a processor.
const RUNNABLE_LOOK: Duration = Duration::from_millis(200);

/// A launcher, and the worker that it becomes.
pub(super) struct Attempt {
    /// To be killed and reaped.
    pub(super) process: Process,
    /// Readable when the worker has sent a message.
    pub(super) waiting: OwnedFd,
    /// For messages.
    pub(super) link: MonitorEnd,
    started: OwnedFd,
}

/// A sign from a launcher that the monitor waits for.
#[derive(Clone, Copy)]
enum LauncherEvent {
    /// It has sent a message.
    Message,
    /// It has ended.
    End,
    /// It has started on another place, or closed its pipe.
    Place,
}

/// The progress of a launcher.
pub(super) enum LaunchProgress {
    /// It is the worker, has sent a message, or has ended.
    Done,
    /// The place with this number, in the order of the search, does not answer.
    Blocked(usize),
}

impl Attempt {
    /// Starts a launcher.
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
        // While we have all capabilities: others' pipes may be small.
        let (ours, pipes) = Duplex::pair().map_err(launch_failed)?;
        // The worker's end is closed by exec.
        let (started, starting) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(launch_failed)?;
        let waiting =
            ours.incoming().try_clone_to_owned().map_err(|error| launch_failed(errno_of(&error)))?;
        // Sent before there is a reader, so that a launcher that fails early need not wait for it.
        let mut link = MonitorEnd::over(ours);
        link.send_request(request)
            .map_err(|error| Failure::new(Stage::Negotiate, Cause::WorkerFault, error))?;
        match fork(assignment.cgroup)? {
            ForkResult::Child => {
                drop((link, waiting, started));
                launcher::become_worker(assignment, served, program.into(), Ends { pipes, starting })
            }
            ForkResult::Parent { child } => {
                let process = Process::of_child(child).map_err(launch_failed)?;
                Ok(Self { process, waiting, link, started })
            }
        }
    }

    /// Waits until the launcher has become the worker, has sent a message, or is blocked; `limit` is the KDC's time.
    ///
    /// # Errors
    /// [`Failure`], also if it has not started to look for credentials by the deadline.
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

    /// How many more places it has started on; 0 when the pipe is closed.
    fn begun(&self) -> usize {
        let mut bytes = [0; 64];
        nix::unistd::read(&self.started, &mut bytes).unwrap_or(0)
    }
}

/// Into its owner's cgroup, if that is possible.
fn fork(cgroup: Option<&OwnerCgroup<'_>>) -> Result<ForkResult, Failure> {
    let confined = cgroup.and_then(|cgroup| cgroup.start_in(fork::fork_confined_in));
    confined.map_or_else(|| fork::fork_confined().map_err(launch_failed), Ok)
}

/// The host's name service daemons serve our own network only, and must not hear of others (rule S23).
pub(super) fn names_in(served: &Served) -> HostNames {
    let ours = namespaces::own_network();
    let theirs = namespaces::identity(served.places.network.as_fd());
    if ours.is_ok() && ours == theirs { HostNames::AsTheHost } else { HostNames::FilesAndDns }
}

/// How long a launcher may be blocked at one place; `limit` is the KDC's time.
pub(super) fn place_limit(limit: Duration) -> Duration {
    (limit / PLACE_SHARE).min(PLACE_LIMIT)
}

fn launch_failed(errno: Errno) -> Failure {
    assignment::launch_failed("start", errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// The KDC's time; a sixth of it is that of a place.
    const KDC: Duration = Duration::from_millis(600);
    /// More than what is waited for takes, also on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    /// A launcher that only sleeps; the test does its part.
    struct Launcher {
        child: Child,
        attempt: Attempt,
        pipes: Duplex,
        starting: Option<OwnedFd>,
    }

    impl Launcher {
        fn start() -> Self {
            let child = Command::new("sleep").arg("3600").spawn().unwrap();
            let process = Process::open(nix::unistd::Pid::from_raw(child.id().cast_signed())).unwrap();
            let (ours, pipes) = Duplex::pair().unwrap();
            let (started, starting) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
            let waiting = ours.incoming().try_clone_to_owned().unwrap();
            let attempt = Attempt { process, waiting, link: MonitorEnd::over(ours), started };
            Self { child, attempt, pipes, starting: Some(starting) }
        }

        fn begin(&self, places: usize) {
            let starting = self.starting.as_ref().unwrap();
            assert_eq!(nix::unistd::write(starting, &vec![0; places]), Ok(places));
        }

        fn progress(&self, limit: Duration, deadline: Duration) -> Result<LaunchProgress, Failure> {
            self.attempt.progress(limit, Instant::now() + deadline)
        }

        #[track_caller]
        fn is_done(&self) {
            assert!(matches!(self.progress(LONG, LONG), Ok(LaunchProgress::Done)));
        }
    }

    impl Drop for Launcher {
        fn drop(&mut self) {
            self.child.kill().and_then(|()| self.child.wait()).unwrap();
        }
    }

    #[test]
    fn a_place_has_a_sixth_of_the_kdcs_time_and_five_seconds_at_most() {
        assert_eq!(place_limit(Duration::from_secs(12)), Duration::from_secs(2));
        assert_eq!(place_limit(Duration::from_secs(30)), PLACE_LIMIT);
        assert_eq!(place_limit(Duration::from_secs(600)), PLACE_LIMIT);
    }

    #[test]
    fn a_launcher_is_done_when_it_has_said_something_or_ended_or_become_the_worker() {
        let mut says = Launcher::start();
        assert_eq!(says.pipes.write(b"x", Instant::now() + LONG).unwrap(), 1);
        says.is_done();
        let mut ends = Launcher::start();
        ends.child.kill().unwrap();
        ends.is_done();
        let mut executes = Launcher::start();
        executes.starting = None;
        executes.is_done();
    }

    #[test]
    fn a_launcher_that_stays_at_a_place_is_blocked_by_the_last_that_it_began_with() {
        for places in [1, 3] {
            let launcher = Launcher::start();
            launcher.begin(places);
            let blocked = launcher.progress(KDC, LONG);
            assert!(matches!(blocked, Ok(LaunchProgress::Blocked(place)) if place == places - 1));
        }
    }

    #[test]
    fn a_launcher_that_has_begun_with_no_place_at_the_deadline_has_failed() {
        let launcher = Launcher::start();
        let started = Instant::now();
        let failure = launcher.progress(KDC, KDC).map(drop).unwrap_err();
        assert_eq!((failure.stage, failure.cause), (Stage::Launch, Cause::Deadline), "{failure}");
        assert!(started.elapsed() >= KDC, "its places have limits, not its start");
    }
}
