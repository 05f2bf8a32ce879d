//! One negotiation, seen by the monitor: the worker is started, its one report taken, the key published or failed.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::getpid;

use super::authorise::Acting;
use super::check::{Agreed, check};
use super::claim::Invocation;
use super::exchange::{Exchanged, InitChannel};
use super::front::Served;
use super::launcher::Assignment;
use super::lustre_parameters;
use super::machine_cache::{MachineCache, Place, Turn};
use super::order::Order;
use super::outcome::Outcome;
use super::relay::Relay;
use super::sources::machine_keys;
use super::start::{self, Attempt, Progress};
use super::telling::{fail, give};
use crate::config::Config;
use crate::creds::search::Rings;
use crate::creds::stamp::Stamp;
use crate::ctx::payload::lustre;
use crate::event::{Cause, Failure, Stage};
use crate::key::LiveKey;
use crate::negotiate::messages::{
    Chosen, Considered, Credentials, Established, Link, Message, MessageError, Names, Report, Timing,
};
use crate::secret::Secret;
use crate::sys::jail;
use crate::sys::namespaces;
use crate::sys::process::{self, Process};

/// How long a worker that has started its message may take to finish it.
const MESSAGE_LIMIT: Duration = Duration::from_secs(1);
/// A worker has four stages, of which three may come twice; the log line of one that claims more stays short.
const STAGES_LIMIT: usize = 8;
/// A worker tells of machine credentials when it has some, and once more when it has a service ticket, too, and after a
/// second attempt.
const CHOICES_LIMIT: usize = 3;
/// Most places that may hold launchers up.
const HELD_UP_LIMIT: usize = 4;

/// The worker, still to be reaped, and what it said.
type Conversation = (Process, Result<Report, Failure>);

/// An upcall whose requester has been released.
pub(super) struct Upcall<'a> {
    invocation: &'a Invocation,
    config: &'a Config,
    acting: Acting,
    started: Instant,
    deadline: Instant,
    timings: Vec<Timing>,
    /// For Lustre.
    channel: Option<Relay>,
    /// For machine credentials: what others wait for.
    turn: Option<Turn>,
    /// How often the worker has told of them.
    choices: usize,
    /// Launchers that a file system holds up.
    stuck: Vec<Process>,
    /// Which credentials the worker has chosen from.
    considered: Considered,
}

/// What the worker is started for.
struct Job<'a> {
    order: &'a Order,
    credentials: Credentials,
    /// Of the own cache of machine credentials.
    stamp: Option<Stamp>,
}

/// How a negotiation has ended. The key is finished; processes that were started are still to be killed and reaped.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) timings: Vec<Timing>,
    pub(super) considered: Considered,
    pub(super) processes: Vec<Process>,
}

impl<'a> Upcall<'a> {
    /// Of these words, under these settings, from the requester's release at `started` to the deadline.
    pub(super) fn new(
        invocation: &'a Invocation,
        config: &'a Config,
        acting: Acting,
        (started, deadline): (Instant, Instant),
    ) -> Self {
        Self {
            invocation,
            config,
            acting,
            started,
            deadline,
            timings: Vec::new(),
            channel: None,
            turn: None,
            choices: 0,
            stuck: Vec::new(),
            considered: Considered::default(),
        }
    }

    /// Has the context negotiated and finishes the key.
    pub(super) fn negotiate(mut self, live: LiveKey, served: &Served) -> Ended {
        self.timings.push(Timing { stage: Stage::Authorise, micros: served.micros });
        let order = match Order::of(self.invocation) {
            Ok(order) => order,
            Err(failure) => return self.without_worker(live, failure),
        };
        let channel = match &order {
            Order::Program(_) => Ok(None),
            Order::Lustre(callout) => InitChannel::open(callout, &lustre_parameters::directories()).map(Some),
        };
        self.channel = match channel {
            Ok(channel) => channel.map(Relay::new),
            Err(failure) => return self.without_worker(live, failure),
        };
        let credentials = order.credentials(self.invocation, self.config);
        let stamp = match self.take_turn(&order, &credentials) {
            Ok(stamp) => stamp,
            Err(failure) => return self.without_worker(live, failure),
        };
        let job = Job { order: &order, credentials, stamp };
        let (worker, agreed) = match self.run_worker(&live, job, served) {
            Ok((worker, report)) => (Some(worker), report.and_then(|report| self.believe(report))),
            Err(failure) => (None, Err(failure)),
        };
        // Others who wait for machine credentials need not fail in the same way one after another.
        if let (Some(turn), Err(failure)) = (self.turn.take(), &agreed) {
            turn.failed(failure);
        }
        let outcome = match agreed {
            Ok(agreed) => self.publish(live, &order, agreed),
            Err(failure) => fail(live, failure, self.acting, self.config, self.deadline),
        };
        let exchanging = self.channel.and_then(Relay::into_stuck);
        let processes = worker.into_iter().chain(exchanging).chain(self.stuck).collect();
        Ended { outcome, timings: self.timings, considered: self.considered, processes }
    }

    fn without_worker(self, live: LiveKey, failure: Failure) -> Ended {
        let outcome = fail(live, failure, self.acting, self.config, self.deadline);
        let considered = Considered::default();
        Ended { outcome, timings: self.timings, considered, processes: Vec::new() }
    }

    /// For machine credentials: waits while another request gets the same, and names their cache, each namespace's own.
    fn take_turn(&mut self, order: &Order, credentials: &Credentials) -> Result<Option<Stamp>, Failure> {
        let (Some(keytab), Credentials::Machines { .. }) = (order.keytab(self.config), credentials) else {
            return Ok(None);
        };
        let setup = |error: &dyn std::fmt::Display| Failure::new(Stage::Credentials, Cause::Setup, error);
        let keys = machine_keys(keytab).unwrap_or_default();
        let purpose = serde_json::to_string(&(credentials, self.config.within())).map_err(|e| setup(&e))?;
        let stamp = Stamp::of(&keys, &self.config.krb5_config, &[&purpose]).map_err(|error| setup(&error))?;
        self.turn = Some(MachineCache::open(self.config, &stamp)?.turn(self.deadline)?);
        Ok(Some(stamp))
    }

    fn run_worker(&mut self, live: &LiveKey, job: Job<'_>, served: &Served) -> Result<Conversation, Failure> {
        let Job { order, credentials, stamp } = job;
        let request = order.request(self.config, credentials, names_in(served));
        let monitor = Process::open(getpid()).map_err(launch_failed)?;
        let (uid, gid) = order.owner(self.invocation);
        let rings = match served.acting {
            Acting::ForItself => start::lent(self.invocation, served, self.config.timeouts.kdc.0),
            Acting::ForAnother | Acting::Machine => Rings::default(),
        };
        let limit = self.config.timeouts.kdc.0;
        let deadline = self.deadline.min(Instant::now() + limit);
        let mut held_up = Vec::new();
        loop {
            let assignment = Assignment {
                key: live.key(),
                uid,
                gid,
                rings,
                held_up: &held_up,
                order,
                stamp: stamp.as_ref(),
                config: self.config,
                monitor: &monitor,
            };
            let mut attempt = Attempt::start(&assignment, served, &request)?;
            let report = match attempt.progress(limit, deadline) {
                Ok(Progress::HeldUp(place)) if held_up.len() < HELD_UP_LIMIT && Instant::now() < deadline => {
                    held_up.push(place);
                    let _ = attempt.process.kill();
                    self.stuck.push(attempt.process);
                    continue;
                }
                Ok(Progress::HeldUp(_)) => {
                    let detail = "the file system of the cache does not answer";
                    Err(Failure::new(Stage::Credentials, Cause::BadCache, detail))
                }
                // From here on nothing needs more rights, and the worker is listened to.
                Ok(Progress::Done) => jail::keep_only_kill()
                    .map_err(launch_failed)
                    .and_then(|()| self.converse(&attempt.process, &attempt.waiting, &mut attempt.link)),
                Err(failure) => Err(failure),
            };
            return Ok((attempt.process, report));
        }
    }

    fn believe(&mut self, report: Report) -> Result<Agreed, Failure> {
        match report {
            Report::Failed(failed) => {
                self.keep_timings(&failed.stages);
                self.considered = failed.considered.sanitised();
                Err(failed.failure.sanitised())
            }
            Report::Established { mut context, base_key, handle } => {
                self.keep_timings(&context.stages);
                self.considered = std::mem::take(&mut context.considered).sanitised();
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

    /// The worker's stages, and before them, as launch, what else has passed since the requester's release.
    fn keep_timings(&mut self, stages: &[Timing]) {
        let total = u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX);
        let worker = stages.iter().fold(0u32, |sum, timing| sum.saturating_add(timing.micros));
        self.timings.push(Timing { stage: Stage::Launch, micros: total.saturating_sub(worker) });
        self.timings.extend(stages.iter().take(STAGES_LIMIT));
    }

    /// Takes the one report, and before it, where the kernel has the connection, tokens for the server.
    fn converse(
        &mut self,
        worker: &Process,
        waiting: &UnixStream,
        link: &mut Link,
    ) -> Result<Report, Failure> {
        let deadline = self.deadline;
        loop {
            // Its end counts as much as its message: a child of it may hold the socket open.
            let events = [waiting.as_fd(), worker.as_fd()];
            let message = match process::readable(&events, deadline).map_err(launch_failed)?.first() {
                None => {
                    let detail = "the upcall's deadline has passed";
                    return Err(Failure::new(Stage::Negotiate, Cause::Deadline, detail));
                }
                Some(0) => link
                    .receive_message(deadline.min(Instant::now() + MESSAGE_LIMIT))
                    .map_err(worker_fault)?,
                Some(_) => return Err(worker_fault(MessageError::Closed)),
            };
            match (message, self.channel.as_mut()) {
                (Message::Report(report), _) => return Ok(report),
                (Message::Chosen(Chosen { good_until }, cache), _) => self.chosen(good_until, &cache)?,
                (Message::Token(token), Some(relay)) if relay.has_room() => {
                    match relay.exchange(&token, worker, deadline)? {
                        Exchanged::Answer(answer) => link.send_reply(&answer).map_err(worker_fault)?,
                        Exchanged::Silence => link.send_again().map_err(worker_fault)?,
                        // What it has left to say comes next.
                        Exchanged::Unwanted => {}
                    }
                }
                (Message::Token(_), _) => {
                    let detail = "worker: a token more than it may send";
                    return Err(Failure::new(Stage::Negotiate, Cause::WorkerFault, detail));
                }
            }
        }
    }

    /// Machine credentials are there, or there are more of them: from now on others can use them, too.
    fn chosen(&mut self, good_until: u32, cache: &Secret) -> Result<(), Failure> {
        self.choices += 1;
        match self.turn.as_mut().filter(|_| self.choices <= CHOICES_LIMIT) {
            Some(turn) => turn.succeeded(good_until, cache, &Place::of(self.config)),
            None => {
                let detail = "worker: credentials that it was not asked for";
                return Err(Failure::new(Stage::Negotiate, Cause::WorkerFault, detail));
            }
        }
        Ok(())
    }

    fn publish(&self, live: LiveKey, order: &Order, agreed: Agreed) -> Outcome {
        let Agreed { context, mut lifetime, credential, server } = agreed;
        let (window, enctype) = (context.window, context.base_key.enctype());
        let published = match order {
            Order::Program(callout) => {
                lifetime = callout.ttl.map_or(lifetime, |ttl| lifetime.at_most(ttl));
                give(live, context, self.acting, lifetime).map_err(|error| error.to_string())
            }
            Order::Lustre(_) => lustre::established(&context)
                .map_err(|error| error.to_string())
                .map(|payload| live.import(payload.as_slice(), self.deadline)),
        };
        match published {
            Ok(Ok(())) => {
                let total = self.started.elapsed();
                Outcome::Established { credential, server, window, enctype, lifetime, total }
            }
            Ok(Err((live, errno))) => self.unpublished(live, errno),
            Err(what) => Outcome::Failed(Failure::new(Stage::Publish, Cause::WorkerFault, what)),
        }
    }

    fn unpublished(&self, live: LiveKey, errno: Errno) -> Outcome {
        let cause = match errno {
            Errno::ENOKEY | Errno::EKEYREVOKED | Errno::EKEYEXPIRED => {
                // Nobody waits for it any more, and there is nothing to write to.
                live.hand_over();
                return Outcome::Failed(update_failed(Cause::KeyGone, errno));
            }
            Errno::EDQUOT => Cause::Quota,
            Errno::EAGAIN => Cause::Deadline,
            _ => Cause::Setup,
        };
        fail(live, update_failed(cause, errno), self.acting, self.config, self.deadline)
    }
}

/// Of another network than ours the name service's daemons know nothing, and are not to hear (rule S23).
fn names_in(served: &Served) -> Names {
    let ours = namespaces::own_network();
    let theirs = namespaces::identity(served.places.network.as_fd());
    if ours.is_ok() && ours == theirs { Names::AsTheHost } else { Names::FilesAndDns }
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
