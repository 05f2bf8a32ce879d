//! One negotiation, seen by the monitor: the worker is started, its one report taken, the key published or failed.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::getpid;

use super::assignment::Assignment;
use super::authorise::Acting;
use super::cgroup::Home;
use super::check::{Agreed, check};
use super::exchange::{Exchanged, InitChannel};
use super::failures::Memory;
use super::held::Pending;
use super::invocation::Invocation;
use super::loan::lent;
use super::lustre_parameters;
use super::node::{NodesPart, not_asked_for};
use super::order::{Order, served_mechanism};
use super::outcome::Outcome;
use super::relay::Relay;
use super::start::{self, Attempt, Progress, place_limit};
use super::telling::{give, unpublished};
use super::times::Times;
use super::verdict::Served;
use crate::config::{Config, Level};
use crate::creds::limits::BLOCKED_PLACES;
use crate::creds::search::Rings;
use crate::ctx::payload::lustre;
use crate::event::{Cause, Failure, Stage, one_line};
use crate::identity::requester::Wait;
use crate::negotiate::messages::{
    Considered, Credentials, Established, Message, MessageError, Paused, Report, Request, TRAIL_LIMIT,
    TRIED_LIMIT, Timing,
};
use crate::sys::jail;
use crate::sys::process::{self, Process};
use crate::time::now_32;

/// How long a worker that has started its message may take to finish it.
const MESSAGE_LIMIT: Duration = Duration::from_secs(1);
/// A worker has five stages, of which four may come twice; the log line of one that claims more stays short.
const STAGES_LIMIT: usize = 10;

/// The worker, still to be reaped, and what it said.
type Conversation = (Process, Result<Report, Failure>);

/// An upcall whose requester has been released.
pub(super) struct Upcall<'a> {
    /// Where processes are accounted for.
    home: Option<&'a Home<'a>>,
    invocation: &'a Invocation,
    config: &'a Config,
    acting: Acting,
    /// Who waits for the answer, or has waited.
    waits: Wait,
    times: Times,
    timings: Vec<Timing>,
    /// For Lustre.
    channel: Option<Relay>,
    /// For the node's credentials: what other requests wait for.
    node: Option<NodesPart>,
    /// What the worker has said of its stages with its last token, and when.
    told: Option<(Vec<Timing>, Instant)>,
    /// Launchers that a file system blocks.
    stuck: Vec<Process>,
    /// Which credentials the worker has chosen from.
    considered: Considered,
    /// What it has tried, if the log is to tell.
    trail: Vec<String>,
    /// The owner's pause.
    paused: Option<&'a Paused>,
    /// With which credentials it has failed.
    tried: Option<Vec<u64>>,
}

/// What the worker is started for.
struct Job<'a> {
    order: &'a Order,
    credentials: Credentials,
}

/// How a negotiation has ended. The key is finished; processes that were started are still to be killed and reaped.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) timings: Vec<Timing>,
    pub(super) considered: Considered,
    pub(super) trail: Vec<String>,
    pub(super) tried: Option<Vec<u64>>,
    pub(super) processes: Vec<Process>,
}

/// What is waited for in a conversation.
#[derive(Clone, Copy)]
enum Event {
    Message,
    WorkersEnd,
}

impl<'a> Upcall<'a> {
    /// Of these words, under these settings.
    pub(super) fn new(
        invocation: &'a Invocation,
        config: &'a Config,
        (acting, waits): (Acting, Wait),
        times: Times,
        home: Option<&'a Home<'a>>,
    ) -> Self {
        Self {
            invocation,
            config,
            acting,
            waits,
            times,
            home,
            timings: Vec::new(),
            channel: None,
            node: None,
            told: None,
            stuck: Vec::new(),
            considered: Considered::default(),
            trail: Vec::new(),
            paused: None,
            tried: None,
        }
    }

    /// While its owner has a pause.
    pub(super) fn in_pause(self, paused: Option<&'a Paused>) -> Self {
        Self { paused, ..self }
    }

    /// Has the context negotiated and finishes the key.
    pub(super) fn negotiate(mut self, mut key: Pending, served: &Served) -> Ended {
        self.timings.push(Timing { stage: Stage::Authorise, micros: served.micros });
        let order = served.order;
        let channel = match order {
            Order::Program { .. } => Ok(None),
            Order::Lustre(callout) => served_mechanism(callout)
                .and_then(|()| InitChannel::open(callout, &lustre_parameters::directories()))
                .map(Some),
        };
        self.channel = match channel {
            Ok(channel) => channel.map(Relay::new),
            Err(failure) => return self.without_worker(key, failure),
        };
        let credentials = order.credentials(self.invocation, self.config);
        // The kernel asks twice for a user's access: what was slow is not tried a second time.
        let memory = order.lustre().filter(|callout| !callout.roles.any());
        let memory = memory.and_then(|callout| Memory::of_user(self.config, callout));
        if let Some(failure) = memory.as_ref().and_then(Memory::pause) {
            return self.without_worker(key, failure);
        }
        let about = (self.invocation, self.config, served);
        let patience = (self.times.deadline, self.waits);
        self.node = match NodesPart::take(&credentials, about, patience) {
            Ok(part) => part,
            Err(failure) => return self.without_worker(key, failure),
        };
        let job = Job { order, credentials };
        let (worker, agreed) = match self.run_worker(&mut key, job, served) {
            Ok((worker, report)) => (Some(worker), report.and_then(|report| self.believe(report))),
            Err(failure) => (None, Err(failure)),
        };
        match (self.node.take(), &agreed) {
            (Some(part), Ok(_)) => part.succeeded(),
            (Some(part), Err(failure)) => part.failed(failure),
            (None, _) => {}
        }
        match (&memory, &agreed) {
            (Some(memory), Ok(_)) => memory.succeeded(),
            (Some(memory), Err(failure)) => memory.failed(failure),
            (None, _) => {}
        }
        let outcome = match agreed {
            Ok(agreed) => self.publish(key, order, agreed),
            Err(failure) => key.fail(failure, self.acting, self.config, self.times.released),
        };
        let exchanging = self.channel.and_then(Relay::into_stuck);
        let processes = worker.into_iter().chain(exchanging).chain(self.stuck).collect();
        let Self { timings, considered, trail, tried, .. } = self;
        Ended { outcome, timings, considered, trail, tried, processes }
    }

    fn without_worker(self, key: Pending, failure: Failure) -> Ended {
        let outcome = key.fail(failure, self.acting, self.config, self.times.released);
        let Self { timings, considered, trail, tried, .. } = self;
        Ended { outcome, timings, considered, trail, tried, processes: Vec::new() }
    }

    fn run_worker(
        &mut self,
        key: &mut Pending,
        job: Job<'_>,
        served: &Served,
    ) -> Result<Conversation, Failure> {
        let Job { order, credentials } = job;
        let limit = self.times.kdc(self.config.timeouts.kdc.0);
        let limits = (limit, self.times.total());
        let request = order.request(self.config, credentials, start::names_in(served), limits);
        let request = Request { paused: self.paused.cloned(), ..request };
        let monitor = Process::open(getpid()).map_err(launch_failed)?;
        let (uid, gid) = order.owner(self.invocation);
        let rings = match served.acting {
            Acting::ForItself => lent(self.invocation, served.loan, place_limit(self.config.timeouts.kdc.0)),
            Acting::ForAnother | Acting::Machine => Rings::default(),
        };
        let deadline = self.times.deadline.min(Instant::now() + limit);
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
                stamp: self.node.as_ref().map(NodesPart::stamp),
                config: self.config,
                home: self.home,
                monitor: &monitor,
            };
            let mut attempt = Attempt::start(&assignment, served, &request)?;
            let report = match attempt.progress(limit, deadline) {
                Ok(Progress::Blocked(place))
                    if blocked.len() < BLOCKED_PLACES && Instant::now() < deadline =>
                {
                    blocked.push(place);
                    let _ = attempt.process.kill();
                    self.stuck.push(attempt.process);
                    continue;
                }
                Ok(Progress::Blocked(_)) => {
                    let detail = "the file system of the cache does not answer";
                    Err(Failure::new(Stage::Credentials, Cause::BadCache, detail))
                }
                // From here on nothing needs more rights, and the worker is listened to. A key that is still held has
                // its owner and its permissions already.
                Ok(Progress::Done) => jail::keep_only_kill()
                    .map_err(launch_failed)
                    .and_then(|()| self.converse(key, &mut attempt)),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = &report {
                self.keep_unreported(failure);
            }
            return Ok((attempt.process, report));
        }
    }

    fn believe(&mut self, report: Report) -> Result<Agreed, Failure> {
        match report {
            Report::Failed(failed) => {
                self.keep_timings(&failed.stages);
                self.considered = failed.considered.sanitised();
                self.keep_trail(failed.trail);
                self.tried = failed.tried.map(|tried| tried.into_iter().take(TRIED_LIMIT).collect());
                Err(failed.failure.sanitised())
            }
            Report::Established { mut context, base_key, handle } => {
                self.keep_timings(&context.stages);
                self.considered = std::mem::take(&mut context.considered).sanitised();
                self.keep_trail(std::mem::take(&mut context.trail));
                let enctypes = &self.config.kerberos.enctypes;
                match self.channel.as_ref().and_then(Relay::last) {
                    // Rule S13: what we have heard from the server ourselves is not asked of the worker.
                    Some(&(window, ref handle)) => {
                        check(Established { window, ..*context }, base_key, handle, enctypes)
                    }
                    None => check(*context, base_key, &handle, enctypes),
                }
            }
        }
    }

    fn keep_trail(&mut self, trail: Vec<String>) {
        if self.config.log.level == Level::Debug {
            self.trail = trail.iter().take(TRAIL_LIMIT).map(|line| one_line(line)).collect();
        }
    }

    /// The worker's stages, and before them, as launch, what else has passed since the requester's release.
    fn keep_timings(&mut self, stages: &[Timing]) {
        let total = u32::try_from(self.times.started.elapsed().as_micros()).unwrap_or(u32::MAX);
        let worker = stages.iter().fold(0u32, |sum, timing| sum.saturating_add(timing.micros));
        self.timings.push(Timing { stage: Stage::Launch, micros: total.saturating_sub(worker) });
        self.timings.extend(stages.iter().take(STAGES_LIMIT));
    }

    /// The same where it is we who end the negotiation: the last stage has lasted since the last token.
    fn keep_unreported(&mut self, failure: &Failure) {
        let (mut stages, since) = self.told.take().unwrap_or_else(|| (Vec::new(), Instant::now()));
        let micros = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
        stages.push(Timing { stage: failure.stage, micros });
        self.keep_timings(&stages);
    }

    /// Takes the one report, and before it, where the kernel has the connection, tokens for the server.
    fn converse(&mut self, key: &mut Pending, attempt: &mut Attempt) -> Result<Report, Failure> {
        let Attempt { process: worker, waiting, link, .. } = attempt;
        loop {
            let deadline = self.times.deadline;
            // Its end counts as much as its message: a child of it may hold the socket open.
            let events = [(Event::Message, waiting.as_fd()), (Event::WorkersEnd, worker.as_fd())];
            let message = match process::readable(&events, deadline).map_err(launch_failed)?.first() {
                None if key.holds_a_mount() => {
                    let detail = "no ticket for the server in the time that a mount waits";
                    return Err(Failure::new(Stage::Kdc, Cause::Deadline, detail));
                }
                None => {
                    let detail = "the upcall's deadline has passed";
                    return Err(Failure::new(Stage::Negotiate, Cause::Deadline, detail));
                }
                Some(Event::Message) => link
                    .receive_message(deadline.min(Instant::now() + MESSAGE_LIMIT))
                    .map_err(worker_fault)?,
                Some(Event::WorkersEnd) => return Err(worker_fault(MessageError::Closed)),
            };
            match (message, self.channel.as_mut()) {
                (Message::Report(report), _) => return Ok(report),
                (Message::Chosen(chosen, cache), _) => match self.node.as_mut() {
                    Some(part) => part.chosen(chosen, &cache, self.config)?,
                    None => return Err(not_asked_for()),
                },
                (Message::Token(token, stages), Some(relay)) if relay.has_room() => {
                    self.told = Some((stages, Instant::now()));
                    // All that can be known without the server is known.
                    key.admit()?;
                    self.times.deadline = self.times.released;
                    let deadline = self.times.deadline;
                    match relay.exchange(&token, worker, deadline)? {
                        Exchanged::Answer(answer) => link.send_reply(&answer).map_err(worker_fault)?,
                        Exchanged::Silence => link.send_again().map_err(worker_fault)?,
                        // What it has left to say comes next.
                        Exchanged::Unwanted => {}
                    }
                }
                (Message::Token(..), _) => {
                    let detail = "worker: a token more than it may send";
                    return Err(Failure::new(Stage::Negotiate, Cause::WorkerFault, detail));
                }
            }
        }
    }

    fn publish(&self, mut key: Pending, order: &Order, agreed: Agreed) -> Outcome {
        let failed = |key: Pending, why| key.fail(why, self.acting, self.config, self.times.released);
        let live = match (key.admit(), key) {
            (Ok(()), Pending::Live(live)) => live,
            (Ok(()), held) => return failed(held, unanswered()),
            (Err(failure), held) => return failed(held, failure),
        };
        let Agreed { mut context, mut lifetime, credential, server } = agreed;
        let (window, enctype) = (context.window, context.base_key.enctype());
        let published = match order {
            Order::Program { callout, .. } => {
                if let Some(ttl) = callout.ttl.filter(|ttl| *ttl < lifetime.as_duration()) {
                    lifetime = lifetime.at_most(ttl);
                    // Of one end only is told.
                    context.endtime = context.endtime.min(now_32().saturating_add(lifetime.as_secs()));
                }
                give(live, context, self.acting, lifetime).map_err(|error| error.to_string())
            }
            Order::Lustre(_) => lustre::established(&context)
                .map_err(|error| error.to_string())
                .map(|payload| live.import(payload.as_slice(), lifetime.as_duration(), self.times.released)),
        };
        match published {
            Ok(Ok(())) => {
                let total = self.times.started.elapsed();
                Outcome::Established { credential, server, window, enctype, lifetime, total }
            }
            Ok(Err((live, errno))) => unpublished(live, errno, self.acting, self.config, self.times.released),
            Err(what) => Outcome::Failed(Failure::new(Stage::Publish, Cause::WorkerFault, what)),
        }
    }
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
