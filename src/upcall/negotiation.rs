//! One negotiation, seen by the monitor: the worker is started, its one report taken, the key published or failed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::getpid;

use super::check::{Agreed, check};
use super::claim::Invocation;
use super::front::Served;
use super::launcher::{self, Assignment};
use super::outcome::Outcome;
use crate::config::Config;
use crate::ctx::payload::user;
use crate::ctx::request::Callout;
use crate::event::{Cause, Failure, Stage};
use crate::key::LiveKey;
use crate::negotiate::messages::{Limits, Link, MessageError, Report, Request, Timing};
use crate::sys::files::open_trusted;
use crate::sys::process::{self, Forked, Process};
use crate::sys::sockets;

/// How long a worker that has started its message may take to finish it.
const MESSAGE_LIMIT: Duration = Duration::from_secs(1);
/// A worker has four stages, of which three may come twice; the log line of one that claims more stays short.
const STAGES_LIMIT: usize = 8;
/// How long a key says that a limit was reached: the next try may well succeed.
const BUSY_TTL: Duration = Duration::from_secs(2);

/// The worker, still to be reaped, and what it said.
type Conversation = (Process, Result<Report, Failure>);

/// An upcall whose requester has been released.
pub(super) struct Upcall<'a> {
    invocation: &'a Invocation,
    config: &'a Config,
    started: Instant,
    timings: Vec<Timing>,
}

/// How a negotiation has ended. The key is finished; the worker, if one was started, is still to be killed and reaped.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) timings: Vec<Timing>,
    pub(super) worker: Option<Process>,
}

impl<'a> Upcall<'a> {
    /// Of these words, under these settings; `started` is when the requester was released.
    pub(super) fn new(invocation: &'a Invocation, config: &'a Config, started: Instant) -> Self {
        Self { invocation, config, started, timings: Vec::new() }
    }

    /// Has the context negotiated and finishes the key.
    pub(super) fn negotiate(mut self, live: LiveKey, served: &Served) -> Ended {
        self.timings.push(Timing { stage: Stage::Authorise, micros: served.micros });
        // The front has parsed the same words; what it accepted is accepted again.
        let callout =
            std::str::from_utf8(&self.invocation.callout).ok().and_then(|text| text.parse::<Callout>().ok());
        let Some(callout) = callout else {
            let failure = Failure::new(Stage::Authorise, Cause::BadRequest, "callout");
            return Ended { outcome: fail(live, failure, self.config), timings: self.timings, worker: None };
        };
        let (worker, agreed) = match self.run_worker(&live, &callout, served) {
            Ok((worker, report)) => (Some(worker), report.and_then(|report| self.believe(report))),
            Err(failure) => (None, Err(failure)),
        };
        let outcome = match agreed {
            Ok(agreed) => self.publish(live, &callout, agreed),
            Err(failure) => fail(live, failure, self.config),
        };
        Ended { outcome, timings: self.timings, worker }
    }

    fn run_worker(
        &self,
        live: &LiveKey,
        callout: &Callout,
        served: &Served,
    ) -> Result<Conversation, Failure> {
        let program = open_trusted(&self.config.worker, OFlag::O_PATH)
            .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, format_args!("worker: {error}")))?;
        let (ours, theirs) = sockets::stream_pair().map_err(launch_failed)?;
        // The worker's end is closed by exec.
        let (started, starting) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(launch_failed)?;
        let waiting =
            ours.try_clone().map_err(|e| launch_failed(Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
        // The request lies in the socket before anyone reads it: whoever fails early need not wait to be asked.
        let mut link = Link::new(ours);
        link.send_request(&self.request(callout)).map_err(worker_fault)?;
        let monitor = Process::open(getpid()).map_err(launch_failed)?;
        match process::fork_confined().map_err(launch_failed)? {
            Forked::Child => {
                drop((link, waiting, started));
                let assignment = Assignment {
                    key: live.key(),
                    uid: self.invocation.uid,
                    gid: self.invocation.gid,
                    acting: served.acting,
                    session_ring: self.invocation.session_ring,
                    cache: callout.cache.as_deref(),
                    config: self.config,
                    monitor: &monitor,
                };
                launcher::become_worker(&assignment, served, program.into(), theirs)
            }
            Forked::Parent(pid) => {
                drop((theirs, starting));
                let worker = Process::open(pid).map_err(launch_failed)?;
                let report = self
                    .await_start(&worker, &waiting, &started)
                    .and_then(|()| self.await_report(&worker, waiting, link));
                Ok((worker, report))
            }
        }
    }

    fn request(&self, callout: &Callout) -> Request {
        let limits = &self.config.timeouts;
        Request {
            mechanism: callout.mechanism,
            service: callout.service.clone(),
            channel: callout.channel.clone(),
            level: callout.level,
            enctypes: self.config.kerberos.enctypes.clone(),
            limits: Limits { kdc: limits.kdc.0, connect: limits.connect.0, round: limits.round.0 },
        }
    }

    fn believe(&mut self, report: Report) -> Result<Agreed, Failure> {
        match report {
            Report::Failed(failed) => {
                self.keep_timings(&failed.stages);
                Err(failed.failure.sanitised())
            }
            Report::Established { context, base_key, handle } => {
                self.keep_timings(&context.stages);
                check(context, base_key, &handle, &self.config.kerberos.enctypes)
            }
        }
    }

    /// The worker's stages, and before them, as launch, what else has passed since the requester's release.
    fn keep_timings(&mut self, stages: &[Timing]) {
        let total = u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX);
        let worker = stages.iter().fold(0u32, |sum, timing| sum.saturating_add(timing.micros));
        self.timings.push(Timing { stage: Stage::Launch, micros: total.saturating_sub(worker) });
        self.timings.extend(stages.iter().take(STAGES_LIMIT));
    }

    /// Waits until the launcher has become the worker, or has something to say. What can hold it up is the file system
    /// of the requester's cache.
    fn await_start(&self, worker: &Process, waiting: &UnixStream, started: &OwnedFd) -> Result<(), Failure> {
        let deadline = Instant::now() + self.config.timeouts.kdc.0.min(self.config.timeouts.deadline.0);
        let events = [waiting.as_fd(), worker.as_fd(), started.as_fd()];
        if process::readable(&events, deadline).map_err(launch_failed)?.is_empty() {
            let detail = "the file system of the cache does not answer";
            return Err(Failure::new(Stage::Credentials, Cause::BadCache, detail));
        }
        Ok(())
    }

    /// Takes one report; nothing else is ever taken.
    fn await_report(&self, worker: &Process, waiting: UnixStream, mut link: Link) -> Result<Report, Failure> {
        let deadline = self.started + self.config.timeouts.deadline.0;
        // Its end counts as much as its message: a child of it may hold the socket open.
        let ready = process::readable(&[waiting.as_fd(), worker.as_fd()], deadline).map_err(launch_failed)?;
        match ready.first() {
            None => Err(Failure::new(Stage::Negotiate, Cause::Deadline, "the upcall's deadline has passed")),
            Some(0) => {
                link.receive_report(deadline.min(Instant::now() + MESSAGE_LIMIT)).map_err(worker_fault)
            }
            Some(_) => Err(worker_fault(MessageError::Closed)),
        }
    }

    fn publish(&self, live: LiveKey, callout: &Callout, agreed: Agreed) -> Outcome {
        let Agreed { context, lifetime, credential } = agreed;
        let lifetime = callout.ttl.map_or(lifetime, |ttl| lifetime.at_most(ttl));
        let Ok(payload) = user::established(&context) else {
            let failure = Failure::new(Stage::Publish, Cause::WorkerFault, "context too large for the key");
            return fail(live, failure, self.config);
        };
        match live.publish(payload.as_slice(), Duration::from_secs(lifetime.as_secs().into())) {
            Ok(()) => Outcome::Established {
                credential,
                window: context.window,
                enctype: context.base_key.enctype(),
                lifetime,
                total: self.started.elapsed(),
            },
            Err((live, errno @ (Errno::ENOKEY | Errno::EKEYREVOKED | Errno::EKEYEXPIRED))) => {
                // Nobody waits for it any more, and there is nothing to write to.
                live.hand_over();
                Outcome::Failed(update_failed(Cause::KeyGone, errno))
            }
            Err((live, Errno::EDQUOT)) => fail(live, update_failed(Cause::Quota, Errno::EDQUOT), self.config),
            Err((live, errno)) => fail(live, update_failed(Cause::Setup, errno), self.config),
        }
    }
}

/// Fails the key: the error stays readable for the negative-cache time.
pub(super) fn fail(live: LiveKey, failure: Failure, config: &Config) -> Outcome {
    let ttl = match failure.cause {
        Cause::TooMany | Cause::Paused => config.timeouts.negative_cache.0.min(BUSY_TTL),
        _ => config.timeouts.negative_cache.0,
    };
    match live.publish(user::failed(&failure).as_slice(), ttl) {
        Ok(()) => Outcome::Failed(failure),
        Err((live, errno)) => {
            live.hand_over();
            let detail = format!("{}; and the key takes no answer: {errno}", failure.detail);
            Outcome::Failed(Failure { detail, ..failure })
        }
    }
}

fn launch_failed(errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("no process to negotiate: {errno}"))
}

fn worker_fault(error: MessageError) -> Failure {
    Failure::new(Stage::Negotiate, Cause::WorkerFault, format_args!("worker: {error}"))
}

fn update_failed(cause: Cause, errno: Errno) -> Failure {
    Failure::new(Stage::Publish, cause, format_args!("the key cannot be updated: {errno}"))
}
