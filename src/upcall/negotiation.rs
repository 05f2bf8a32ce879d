//! One negotiation, seen by the monitor, in four states: prepared, running, reported, ended. Starts the worker, takes
//! its one report, publishes or fails the key.
//!
//! Called by the monitor once there is a slot. Invariant: every way out finishes the key.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::getpid;

use super::assignment::Assignment;
use super::authorise::Acting;
use super::cgroup::OwnerCgroup;
use super::check::{Agreed, AgreedContext, check};
use super::check_shared::check_shared;
use super::confinement::confine_monitor;
use super::exchange::Exchanged;
use super::final_payload::{fail_unpublished, kernels_payload, publish_context};
use super::findings::Findings;
use super::gssnull;
use super::held::Pending;
use super::job::Job;
use super::loan::lent;
use super::machine_part::{MachinePart, not_asked_for};
use super::order::Order;
use super::outcome::Outcome;
use super::prepared::{Concerned, PreparedNegotiation};
use super::relay::{GrantedContext, Relay};
use super::routing::RoutedMessage;
use super::shared_keys::SharedKeyPart;
use super::start::{self, Attempt, LaunchProgress, place_limit};
use super::times::{Times, WorkerTime};
use super::worker_exit;
use crate::creds::limits::BLOCKED_PLACES;
use crate::creds::search::Rings;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{
    Credentials, Established, MessageError, Paused, Report, Request, SharedKeyEstablished, Timing,
};
use crate::secret::Secret;
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
pub(super) fn negotiate(job: Job<'_>, key: Pending, times: Times, room: Room<'_>) -> Ended {
    let findings = Findings::new(times.started, job.served.micros, job.config.log.level);
    match PreparedNegotiation::of(&job, &times) {
        Ok(PreparedNegotiation { credentials, channel, concerned }) => {
            let (last_stages, worker, stuck) = (None, None, Vec::new());
            RunningNegotiation { job, times, key, channel, concerned, last_stages, findings, worker, stuck }
                .report(credentials, room)
                .finish()
        }
        Err(failure) => {
            let outcome = key.fail(failure, job.served.acting, job.config, times.released);
            Ended { outcome, findings, processes: Vec::new() }
        }
    }
}

/// The state while there is a worker.
struct RunningNegotiation<'a> {
    job: Job<'a>,
    times: Times,
    key: Pending,
    channel: Option<Relay>,
    concerned: Concerned,
    /// The worker's stages, as reported with its last token, and when that came.
    last_stages: Option<(Vec<Timing>, Instant)>,
    findings: Findings,
    worker: Option<Process>,
    /// Launchers that are blocked by a file system.
    stuck: Vec<Process>,
}

impl<'a> RunningNegotiation<'a> {
    fn report(mut self, credentials: Option<Credentials>, room: Room<'_>) -> Reported<'a> {
        let agreed = match credentials {
            Some(credentials) => {
                let agreed = self.work(credentials, room).and_then(|report| self.accept(report));
                agreed.map_err(|failure| match &self.concerned.shared_keys {
                    Some(part) => part.with_objections(failure),
                    None => failure,
                })
            }
            None => self.without_worker(),
        };
        let Self { job, times, key, channel, concerned, findings, worker, stuck, .. } = self;
        let exchanging = channel.and_then(Relay::into_stuck);
        // The worker first, since the others may be slow to end.
        let processes = worker.into_iter().chain(exchanging).chain(stuck).collect();
        Reported { job, times, key, concerned, findings, agreed, processes }
    }

    /// For a mechanism without credentials.
    fn without_worker(&mut self) -> Result<Agreed, Failure> {
        // The server's answer is read with no right but CAP_KILL, and few calls. A held key has its owner and permissions
        // already.
        self.confine()?;
        let (Some(relay), Some(callout)) = (self.channel.as_mut(), self.job.order().lustre()) else {
            return Err(Failure::new(Stage::Launch, Cause::Setup, "a program needs credentials"));
        };
        let begun = Instant::now();
        let agreed = gssnull::establish(&mut self.key, relay, callout, self.times.released);
        self.findings.exchanged(begun);
        agreed
    }

    fn work(&mut self, credentials: Credentials, room: Room<'_>) -> Result<Report, Failure> {
        let Job { invocation, served, config, .. } = self.job;
        let order = self.job.order();
        let limit = self.times.kdc(config.timeouts.kdc.0);
        let time = WorkerTime { kdc: limit, total: self.times.total() };
        let request = order.request(config, credentials, start::names_in(served), time);
        let request = Request { paused: room.paused.cloned(), ..request };
        let monitor = Process::open(getpid()).map_err(launch_failed)?;
        let (uid, gid) = order.owner(invocation);
        let rings = match served.acting {
            Acting::ForItself => lent(invocation, served.loan, place_limit(config.timeouts.kdc.0)),
            Acting::ForAnother | Acting::Machine => Rings::default(),
        };
        let deadline = self.times.deadline.min(Instant::now() + limit);
        let mut blocked = Vec::new();
        loop {
            let assignment = Assignment {
                key: self.key.key(),
                under_construction: self.key.under_construction(),
                uid,
                gid,
                rings,
                blocked: &blocked,
                order,
                shared_keys: self
                    .concerned
                    .shared_keys
                    .as_ref()
                    .map(SharedKeyPart::candidates)
                    .unwrap_or_default(),
                stamp: self.concerned.machine.as_ref().map(MachinePart::stamp),
                config,
                cgroup: room.cgroup,
                monitor: &monitor,
            };
            let mut attempt = Attempt::start(&assignment, served, &request)?;
            let report = match attempt.progress(limit, deadline) {
                Ok(LaunchProgress::Blocked(place))
                    if blocked.len() < BLOCKED_PLACES && Instant::now() < deadline =>
                {
                    blocked.push(place);
                    let _ = attempt.process.kill();
                    self.stuck.push(attempt.process);
                    continue;
                }
                Ok(LaunchProgress::Blocked(_)) => {
                    let detail = "the file system of the cache does not answer";
                    Err(Failure::new(Stage::Credentials, Cause::BadCache, detail))
                }
                // From here on untrusted messages are read, and no right but CAP_KILL is needed, and few calls: a key that
                // is still held has its owner and permissions already.
                Ok(LaunchProgress::Done) => self.confine().and_then(|()| self.converse(&mut attempt)),
                Err(failure) => Err(failure),
            };
            self.worker = Some(attempt.process);
            return report.inspect_err(|failure| self.findings.unreported(failure, self.last_stages.take()));
        }
    }

    fn confine(&self) -> Result<(), Failure> {
        let elsewhere = self.concerned.machine.as_ref().and_then(MachinePart::directory);
        confine_monitor(self.key.key(), self.job.config, elsewhere)
    }

    /// The failure of an upcall whose deadline has passed; a mount's is earlier.
    fn overdue(&self) -> Failure {
        if self.key.holds_a_mount() {
            let stage = if self.concerned.shared_keys.is_some() { Stage::Credentials } else { Stage::Kdc };
            let detail = "nothing to send to the server in the time that a mount waits";
            return Failure::new(stage, Cause::Deadline, detail);
        }
        Failure::new(Stage::Negotiate, Cause::Deadline, "the upcall's deadline has passed")
    }

    fn accept(&mut self, report: Report) -> Result<Agreed, Failure> {
        let (mut context, base_key, handle) = match report {
            Report::Failed(failed) => return Err(self.findings.failed(failed)),
            Report::Shared { context, keys } => return self.accept_shared(&context, &keys),
            Report::Established { .. } if self.concerned.shared_keys.is_some() => return Err(not_asked_for()),
            Report::Established { context, base_key, handle } => (*context, base_key, handle),
        };
        self.findings.established(&mut context);
        let enctypes = &self.job.config.kerberos.enctypes;
        let Some(relay) = &self.channel else { return check(context, base_key, &handle, enctypes) };
        // Rule S13: window and handle are from the server's answers that we have read, not from the worker.
        let GrantedContext { window, handle } = relay.granted().ok_or_else(not_granted)?;
        check(Established { window: *window, ..context }, base_key, handle, enctypes)
    }

    fn accept_shared(&mut self, context: &SharedKeyEstablished, keys: &Secret) -> Result<Agreed, Failure> {
        self.findings.shared(context);
        let part = self.concerned.shared_keys.as_ref();
        let candidate = part.and_then(|part| part.candidates().get(context.candidate));
        let (Some(relay), Some(callout), Some(part), Some(candidate)) =
            (&self.channel, self.job.order().lustre(), part, candidate)
        else {
            return Err(not_asked_for());
        };
        let granted = relay.granted().ok_or_else(not_granted)?;
        let (checked, lifetime) =
            check_shared(context, keys, granted, &candidate.key, callout.wanted_level())?;
        Ok(Agreed {
            context: AgreedContext::SharedKey(checked),
            lifetime,
            credential: part.credential(candidate, context.remark.as_deref()),
            server: callout.peer.to_string(),
        })
    }

    /// Receives the worker's one report; before it, for Lustre, passes tokens to the server.
    fn converse(&mut self, attempt: &mut Attempt) -> Result<Report, Failure> {
        let Attempt { process: worker, waiting, link, .. } = attempt;
        loop {
            let deadline = self.times.deadline;
            // Its end is watched as well as its pipe, which a child of it may hold open.
            let events =
                [(WorkerEvent::Message, waiting.as_fd()), (WorkerEvent::WorkerExited, worker.as_fd())];
            let message = match process::readable(&events, deadline).map_err(launch_failed)?.first() {
                None => return Err(self.overdue()),
                Some(WorkerEvent::Message) => link
                    .receive_message(deadline.min(Instant::now() + MESSAGE_TIME))
                    .map_err(|error| match error {
                        MessageError::Closed => worker_exit::failure(worker),
                        error => not_received(error, deadline, self.overdue()),
                    })?,
                Some(WorkerEvent::WorkerExited) => return Err(worker_exit::failure(worker)),
            };
            let relay = self.channel.as_mut().filter(|relay| relay.has_room());
            let Concerned { machine, shared_keys, .. } = &mut self.concerned;
            match RoutedMessage::of(message, machine.as_mut(), shared_keys.as_mut(), relay)? {
                RoutedMessage::Report(report) => return Ok(report),
                RoutedMessage::Ready(part, ready, cache) => {
                    part.credentials_ready(ready, &cache, self.job.config)?
                }
                RoutedMessage::TestedPrime(part, prime) => part.prime_is_safe(prime)?,
                RoutedMessage::Token(relay, token, stages) => {
                    self.last_stages = Some((stages, Instant::now()));
                    // Whatever can be known without the server is known by now.
                    self.key.admit()?;
                    self.times.deadline = self.times.released;
                    match relay.exchange(&token, Some(worker), self.times.deadline)? {
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
}

/// The state once the worker has reported, or has failed to.
struct Reported<'a> {
    job: Job<'a>,
    times: Times,
    key: Pending,
    concerned: Concerned,
    findings: Findings,
    agreed: Result<Agreed, Failure>,
    processes: Vec<Process>,
}

impl Reported<'_> {
    fn finish(self) -> Ended {
        let Self { job, times, key, concerned, findings, agreed, processes } = self;
        concerned.learn(&agreed);
        let outcome = match agreed {
            Ok(agreed) => publish(&job, &times, key, agreed),
            Err(failure) => key.fail(failure, job.served.acting, job.config, times.released),
        };
        Ended { outcome, findings, processes }
    }
}

/// Publishes the context in the key.
fn publish(job: &Job<'_>, times: &Times, mut key: Pending, agreed: Agreed) -> Outcome {
    let acting = job.served.acting;
    let failed = |key: Pending, why| key.fail(why, acting, job.config, times.released);
    let live = match (key.admit(), key) {
        (Ok(()), Pending::Live(live)) => live,
        (Ok(()), held) => return failed(held, unanswered()),
        (Err(failure), held) => return failed(held, failure),
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

fn not_granted() -> Failure {
    Failure::new(Stage::Negotiate, Cause::WorkerFault, "worker: a context that no server has granted")
}

fn unanswered() -> Failure {
    Failure::new(Stage::Publish, Cause::Setup, "the key has not been instantiated")
}

fn launch_failed(errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("no process to negotiate: {errno}"))
}

fn worker_fault(error: MessageError) -> Failure {
    Failure::new(Stage::Negotiate, Cause::WorkerFault, format_args!("worker: {error}"))
}

/// The failure of a message that had begun to arrive. If our deadline passed meanwhile, the worker is not to blame.
fn not_received(error: MessageError, deadline: Instant, overdue: Failure) -> Failure {
    match error {
        MessageError::TimedOut if deadline <= Instant::now() => overdue,
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
        assert_eq!(cause(MessageError::TimedOut, now), (Stage::Kdc, Cause::Deadline));
        assert_eq!(cause(MessageError::TimedOut, later), (Stage::Negotiate, Cause::WorkerFault));
        assert_eq!(cause(MessageError::Closed, now), (Stage::Negotiate, Cause::WorkerFault));
    }
}
