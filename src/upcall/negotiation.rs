//! One negotiation, seen by the monitor, in four states that consume each other: prepared, running, reported, ended. Starts
//! the worker, takes its one report, publishes or fails the key.
//!
//! Called by the monitor once there is a slot. Invariant: every way out finishes the key.

use std::os::fd::AsFd;

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::getpid;

use super::assignment::Assignment;
use super::authorise::Acting;
use super::cgroup::OwnerCgroup;
use super::check::{Agreed, AgreedContext};
use super::confinement::confine_monitor;
use super::exchange::Exchanged;
use super::failures::FailureMemory;
use super::final_payload::{fail_unpublished, kernels_payload, publish_context};
use super::findings::Findings;
use super::gssnull;
use super::held::KeyToAnswer;
use super::job::Job;
use super::loan::lent;
use super::order::Order;
use super::outcome::Outcome;
use super::prepared::{Concerned, NegotiationWay, PreparedNegotiation};
use super::relay::Relay;
use super::routing::RoutedMessage;
use super::site_hooks;
use super::start::{Attempt, LaunchProgress, place_limit};
use super::ticket_store::TicketStore;
use super::times::Times;
use super::wanted::{MessageTakers, WantedContext};
use super::worker_exit;
use crate::creds::limits::BLOCKED_PLACES;
use crate::creds::search::Rings;
use crate::ctx::lustre::LustreCallout;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{Credentials, FrameError, Message, Paused, Report, Request, Timing};
use crate::sys::process::{self, Process};
use crate::time::now_32;

/// Time limit for a message once it has begun to arrive, and for one of ours to be read.
const MESSAGE_TIME: Duration = Duration::from_secs(1);

/// What the monitor provides for a negotiation.
#[derive(Clone, Copy)]
pub(super) struct Room<'a> {
    /// The cgroup for its processes.
    pub(super) cgroup: Option<&'a OwnerCgroup<'a>>,
    /// The owner's pause.
    pub(super) paused: Option<&'a Paused>,
}

/// The end of a negotiation. The key is finished; `processes` are still to be killed and reaped.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) findings: Findings,
    pub(super) processes: Vec<Process>,
}

/// A sign from the worker that the monitor waits for.
#[derive(Clone, Copy)]
enum WorkerEvent {
    Message,
    WorkerExited,
}

/// Has the context negotiated and finishes the key.
pub(super) fn negotiate(job: Job<'_>, key: KeyToAnswer, times: Times, room: Room<'_>) -> Ended {
    let findings = Findings::new(times.started, job.served.micros, job.config.log.level);
    let unfinished = Unfinished { job, times, key, findings };
    match PreparedNegotiation::of(&job, &times) {
        Ok(prepared) => prepared.run(unfinished, room).finish(),
        Err(failure) => unfinished.fail(failure),
    }
}

/// What each state has until the key is finished.
struct Unfinished<'a> {
    job: Job<'a>,
    times: Times,
    key: KeyToAnswer,
    findings: Findings,
}

impl Unfinished<'_> {
    fn fail(self, failure: Failure) -> Ended {
        let Self { job, times, key, findings } = self;
        let outcome = key.fail(failure, job.served.acting, job.config, times.released);
        Ended { outcome, findings, processes: Vec::new() }
    }

    /// Gives up rights, before anything is read that a worker or a server wrote. No right but CAP_KILL is needed from then
    /// on, and few calls: a key that is still held has its owner and permissions already. Whoever shares this process's memory
    /// has no more rights: of a loan that is late, nobody waits for the rest.
    fn confine(&self, store: Option<&TicketStore>) -> Result<(), Failure> {
        self.job.served.loan.inspect(|lending| lending.end());
        confine_monitor(self.key.key(), self.job.config, store)
    }
}

impl<'a> PreparedNegotiation<'a> {
    fn run(self, mut unfinished: Unfinished<'a>, room: Room<'_>) -> Reported<'a> {
        let Self { way, memory } = self;
        match way {
            NegotiationWay::Worker(credentials, wanted) => {
                let mut stuck = Vec::new();
                match launch(&mut unfinished, &wanted, credentials, room, &mut stuck) {
                    Ok(worker) => {
                        RunningNegotiation { unfinished, wanted: *wanted, memory, worker, stuck }.report()
                    }
                    Err(failure) => Reported::of_worker(unfinished, *wanted, memory, Err(failure), stuck),
                }
            }
            NegotiationWay::Monitor(relay, callout) => by_ourselves(unfinished, relay, callout, memory),
        }
    }
}

/// Starts a worker. Launchers that a file system has blocked, and the last one if it fails, are added to `stuck`.
fn launch(
    unfinished: &mut Unfinished<'_>,
    wanted: &WantedContext<'_>,
    credentials: Credentials,
    room: Room<'_>,
    stuck: &mut Vec<Process>,
) -> Result<Attempt, Failure> {
    let Unfinished { job, times, key, findings } = unfinished;
    let (Job { invocation, served, config, .. }, order) = (*job, job.order());
    let asked = site_hooks::ask(job, credentials, times, findings, room.cgroup)?;
    let request = Request { paused: room.paused.cloned(), ..asked.request };
    let monitor = Process::open(getpid()).map_err(launch_failed)?;
    let (uid, gid) = order.owner(invocation);
    let rings = match served.acting {
        Acting::ForItself => lent(invocation, served.loan, place_limit(config.timeouts.kdc.0)),
        Acting::ForAnother | Acting::Machine => Rings::default(),
    };
    let deadline = times.deadline.min(Instant::now() + asked.limit);
    let mut blocked = Vec::new();
    loop {
        let assignment = Assignment {
            key: key.key(),
            under_construction: key.under_construction(),
            uid,
            gid,
            rings,
            blocked: &blocked,
            order,
            shared_keys: wanted.candidates(),
            stamp: wanted.stamp(),
            fetched: asked.fetched.as_ref(),
            config,
            cgroup: room.cgroup,
            monitor: &monitor,
        };
        let attempt = Attempt::start(&assignment, served, &request)?;
        let failure = match attempt.progress(asked.limit, deadline) {
            Ok(LaunchProgress::Done) => return Ok(attempt),
            Ok(LaunchProgress::Blocked(place))
                if blocked.len() < BLOCKED_PLACES && Instant::now() < deadline =>
            {
                blocked.push(place);
                let _ = attempt.process.kill();
                stuck.push(attempt.process);
                continue;
            }
            Ok(LaunchProgress::Blocked(_)) => {
                let detail = "the file system of the cache does not answer";
                Failure::new(Stage::Credentials, Cause::BadCache, detail)
            }
            Err(failure) => failure,
        };
        findings.unreported(&failure, None);
        // First, since the others may end late.
        stuck.insert(0, attempt.process);
        return Err(failure);
    }
}

/// For a mechanism without credentials.
fn by_ourselves<'a>(
    mut unfinished: Unfinished<'a>,
    mut relay: Relay,
    callout: &LustreCallout,
    memory: Option<FailureMemory>,
) -> Reported<'a> {
    let agreed = unfinished.confine(None).and_then(|()| {
        let begun = Instant::now();
        let agreed = gssnull::establish(&mut unfinished.key, &mut relay, callout, unfinished.times.released);
        unfinished.findings.exchanged(begun);
        agreed
    });
    let processes = relay.into_stuck().into_iter().collect();
    Reported { unfinished, concerned: Concerned { part: None, memory }, agreed, processes }
}

/// The state while there is a worker.
struct RunningNegotiation<'a> {
    unfinished: Unfinished<'a>,
    wanted: WantedContext<'a>,
    memory: Option<FailureMemory>,
    worker: Attempt,
    /// Launchers that are blocked by a file system.
    stuck: Vec<Process>,
}

impl<'a> RunningNegotiation<'a> {
    fn report(mut self) -> Reported<'a> {
        // The worker's stages, as reported with its last token, and when that came.
        let mut last_stages = None;
        let confined = self.unfinished.confine(self.wanted.store());
        let report = confined.and_then(|()| self.converse(&mut last_stages));
        let Self { mut unfinished, wanted, memory, worker, stuck } = self;
        let findings = &mut unfinished.findings;
        let agreed = match report {
            Ok(report) => wanted.accept(report, findings, &unfinished.job.config.kerberos.enctypes),
            Err(failure) => {
                findings.unreported(&failure, last_stages);
                Err(failure)
            }
        };
        let processes = std::iter::once(worker.process).chain(stuck).collect();
        Reported::of_worker(unfinished, wanted, memory, agreed, processes)
    }

    /// The failure of an upcall whose deadline has passed; a mount's is earlier.
    fn overdue(&self) -> Failure {
        if self.unfinished.key.holds_a_mount() {
            let detail = "nothing to send to the server in the time that a mount waits";
            return Failure::new(self.wanted.first_stage(), Cause::Deadline, detail);
        }
        Failure::new(Stage::Negotiate, Cause::Deadline, "the upcall's deadline has passed")
    }

    /// Receives the worker's one report; before it, for Lustre, passes tokens to the server.
    fn converse(&mut self, last_stages: &mut Option<(Vec<Timing>, Instant)>) -> Result<Report, Failure> {
        loop {
            let message = self.receive()?;
            let Self { unfinished: Unfinished { job, times, key, findings }, wanted, worker, .. } = self;
            let Attempt { process: worker, link, .. } = worker;
            let MessageTakers { machine, shared_keys, relay } = wanted.takers();
            match RoutedMessage::of(message, machine, shared_keys, relay)? {
                RoutedMessage::Report(report) => return Ok(report),
                RoutedMessage::Ready(part, ready, cache) => {
                    findings.tickets(part.credentials_ready(ready, &cache, job.config)?);
                }
                RoutedMessage::TestedPrime(part, prime) => part.prime_is_safe(prime)?,
                RoutedMessage::Token(relay, token, stages) => {
                    *last_stages = Some((stages, Instant::now()));
                    // Whatever can be known without the server is known by now.
                    key.admit()?;
                    times.deadline = times.released;
                    match relay.exchange(&token, Some(worker), times.deadline)? {
                        Exchanged::Answer(answer) => {
                            link.send_reply(&answer, Instant::now() + MESSAGE_TIME).map_err(worker_fault)?;
                        }
                        Exchanged::Silence => {
                            link.send_again(Instant::now() + MESSAGE_TIME).map_err(worker_fault)?;
                        }
                        // Any last message of the worker is read next.
                        Exchanged::Unwanted => {}
                    }
                }
            }
        }
    }

    /// The worker's next message.
    fn receive(&mut self) -> Result<Message, Failure> {
        let deadline = self.unfinished.times.deadline;
        let Attempt { process, waiting, .. } = &self.worker;
        // Its end is watched as well as its pipe, which a child of it may hold open.
        let events = [(WorkerEvent::Message, waiting.as_fd()), (WorkerEvent::WorkerExited, process.as_fd())];
        match process::readable(&events, deadline).map_err(launch_failed)?.first() {
            None => Err(self.overdue()),
            Some(WorkerEvent::Message) => {
                let limit = deadline.min(Instant::now() + MESSAGE_TIME);
                self.worker.link.receive_message(limit).map_err(|error| match error {
                    FrameError::Closed => worker_exit::failure(&self.worker.process),
                    error => not_received(error, deadline, self.overdue()),
                })
            }
            Some(WorkerEvent::WorkerExited) => Err(worker_exit::failure(process)),
        }
    }
}

/// The state once the worker has reported, or has failed to.
struct Reported<'a> {
    unfinished: Unfinished<'a>,
    concerned: Concerned,
    agreed: Result<Agreed, Failure>,
    processes: Vec<Process>,
}

impl<'a> Reported<'a> {
    /// After the end of a worker's negotiation, or of the attempts to start one.
    fn of_worker(
        unfinished: Unfinished<'a>,
        wanted: WantedContext<'_>,
        memory: Option<FailureMemory>,
        agreed: Result<Agreed, Failure>,
        mut processes: Vec<Process>,
    ) -> Self {
        let agreed = agreed.map_err(|failure| wanted.with_objections(failure));
        let (part, relay) = wanted.into_parts();
        // After the worker and before launchers that a file system has blocked, which may end late.
        let second = processes.len().min(1);
        processes.splice(second..second, relay.and_then(Relay::into_stuck));
        Self { unfinished, concerned: Concerned { part, memory }, agreed, processes }
    }

    fn finish(self) -> Ended {
        let Self { unfinished, concerned, agreed, processes } = self;
        concerned.learn(&agreed);
        match agreed {
            Ok(agreed) => {
                let Unfinished { job, times, key, findings } = unfinished;
                Ended { outcome: publish(&job, &times, key, agreed), findings, processes }
            }
            Err(failure) => Ended { processes, ..unfinished.fail(failure) },
        }
    }
}

/// Publishes the context in the key.
fn publish(job: &Job<'_>, times: &Times, key: KeyToAnswer, agreed: Agreed) -> Outcome {
    let acting = job.served.acting;
    let live = match key.into_live() {
        Ok(live) => live,
        Err(not_admitted) => {
            let (failure, held) = *not_admitted;
            return held.fail(failure, acting, job.config, times.released);
        }
    };
    let Agreed { context, mut lifetime, credential, server } = agreed;
    let (window, protection) = (context.window(), context.protection());
    let published = match (job.order(), context) {
        (Order::Program { callout, .. }, AgreedContext::Kerberos(mut context)) => {
            if let Some(ttl) = callout.ttl.filter(|ttl| *ttl < lifetime.as_duration()) {
                lifetime = lifetime.at_most(ttl);
                // The payload and the key's timeout name the same end.
                context.endtime = context.endtime.min(now_32().saturating_add(lifetime.as_secs()));
            }
            publish_context(live, context, acting, lifetime).map_err(|error| error.to_string())
        }
        (Order::Lustre(_), context) => kernels_payload(&context)
            .map_err(|error| error.to_string())
            .map(|payload| live.import(payload.as_slice(), lifetime.as_duration(), times.released)),
        (Order::Program { .. }, AgreedContext::SharedKey(_) | AgreedContext::Null(_)) => {
            Err("a context of a mechanism that is Lustre's alone".to_owned())
        }
    };
    match published {
        Ok(Ok(())) => {
            let total = times.started.elapsed();
            Outcome::Established { credential, server, window, protection, lifetime, total }
        }
        Ok(Err((live, errno))) => fail_unpublished(live, errno, acting, job.config, times.released),
        Err(what) => Outcome::Failed(Failure::new(Stage::Publish, Cause::WorkerFault, what)),
    }
}

fn launch_failed(errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("no process to negotiate: {errno}"))
}

fn worker_fault(error: FrameError) -> Failure {
    Failure::new(Stage::Negotiate, Cause::WorkerFault, format_args!("worker: {error}"))
}

/// The failure of a message that had begun to arrive. If our deadline passed meanwhile, the worker is not to blame.
fn not_received(error: FrameError, deadline: Instant, overdue: Failure) -> Failure {
    match error {
        FrameError::TimedOut if deadline <= Instant::now() => overdue,
        error => worker_fault(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_our_deadline_cuts_off_is_no_fault_of_the_workers() {
        let now = Instant::now();
        let later = now + Duration::from_secs(3600);
        let cause = |error, deadline| {
            let overdue = Failure::new(Stage::Kdc, Cause::Deadline, "overdue");
            let failure = not_received(error, deadline, overdue);
            (failure.stage, failure.cause)
        };
        assert_eq!(cause(FrameError::TimedOut, now), (Stage::Kdc, Cause::Deadline));
        assert_eq!(cause(FrameError::TimedOut, later), (Stage::Negotiate, Cause::WorkerFault));
        assert_eq!(cause(FrameError::Closed, now), (Stage::Negotiate, Cause::WorkerFault));
    }
}
