//! The child of the front, root, the last to die: first the front's watchdog, then the negotiation's.
//!
//! It holds the key and believes the worker nothing: fields are checked here, the payload is made here. Invariant: it
//! ends only after the key has been published or failed, and the worker reaped.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{getpid, setsid};

use super::claim::{Invocation, Unusable};
use super::front::{Served, Verdict};
use super::launcher::{self, Assignment};
use super::outcome::{Journal, Outcome, Subject};
use crate::config::{CEILING, Config, Enctypes};
use crate::crypto::enctype::Enctype;
use crate::crypto::mic::KeyOrigin;
use crate::ctx::payload::user;
use crate::ctx::request::Callout;
use crate::ctx::{BaseKey, Context, Handle, Lifetime, SeqWindow};
use crate::event::{Cause, Failure, Stage};
use crate::key::authority::REJECT_TTL;
use crate::key::{Authority, LiveKey};
use crate::negotiate::messages::{Established, Limits, Link, MessageError, Report, Request, Timing};
use crate::secret::Secret;
use crate::sys::files::open_trusted;
use crate::sys::jail::{self, OomScore};
use crate::sys::process::{self, Forked, Patience, Predecessor, Process};
use crate::sys::sockets;

/// How long a worker that has started its message may take to finish it.
const MESSAGE_LIMIT: Duration = Duration::from_secs(1);
/// Between the deadline and the key's own end, so that waiting programs see the error and not an expired key.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);
/// A worker has four stages, of which three may come twice; the log line of one that claims more stays short.
const STAGES_LIMIT: usize = 8;
/// How long a killed worker is waited for.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// When to look first whether the front has ended, which it has by then. Not by a descriptor of it that wakes us: making
/// and waking cost the requester a twentieth of its wait, this nothing.
const FIRST_LOOK: Duration = Duration::from_micros(500);
const NEXT_LOOK: Duration = Duration::from_micros(250);
/// How long the front may take for its verdict.
const VERDICT_LIMIT: Duration = Duration::from_millis(250);

/// What front and monitor have in common, in memory that they share.
pub(super) struct Common {
    /// The words of the upcall.
    pub(super) invocation: Invocation,
    /// The front's last act; the monitor looks at it when the front has ended.
    pub(super) verdict: OnceLock<Verdict>,
    authority: Authority,
}

/// Starts the monitor.
///
/// # Errors
/// Those of clone(2).
pub(super) fn start(invocation: Invocation, authority: &Authority) -> Result<&'static Common, Errno> {
    let patience = Patience {
        first_look: FIRST_LOOK,
        next_look: NEXT_LOOK,
        limit: VERDICT_LIMIT,
        key: invocation.key.raw(),
        errno: Cause::Deadline.errno(),
        ttl: REJECT_TTL,
    };
    let authority = authority.inherited();
    let common = Box::leak(Box::new(Common { invocation, verdict: OnceLock::new(), authority }));
    process::spawn_heir(patience, watch, common)?;
    Ok(common)
}

/// The monitor's life once the front has ended; until then it only sleeps, since processor time spent would be time that
/// the requester waits. A front that is overdue is killed: reading /proc of a requester can block for as long as its
/// process sits in exec, and nothing else ends that.
fn watch(common: &'static Common, front: Predecessor) -> i32 {
    let verdict = match front {
        Predecessor::Ended => take_verdict(common),
        Predecessor::Killed => {
            // In case it had instantiated the key at the last moment.
            drop(LiveKey::taken_over(common.invocation.key));
            let detail = "S6: the requester could not be looked at in time (it may be in exec)";
            Err(Failure::new(Stage::Authorise, Cause::Deadline, detail))
        }
    };
    let _ = (setsid(), jail::leave_no_core());
    jail::set_oom_score(OomScore::Never);
    process::reset_inherited();
    finish(&common.invocation, verdict);
    0
}

fn take_verdict(common: &'static Common) -> Result<(&'static Served, LiveKey), Failure> {
    match common.verdict.get() {
        Some(Verdict::Served(served)) => Ok((served, LiveKey::taken_over(common.invocation.key))),
        Some(Verdict::Refused(failure)) => Err(failure.clone()),
        None => {
            // It may have ended on either side of the instantiation: one of the two answers the key.
            let _ = common.authority.inherited().reject(Cause::Setup.errno());
            drop(LiveKey::taken_over(common.invocation.key));
            Err(Failure::new(Stage::Authorise, Cause::Setup, "the front process ended without a verdict"))
        }
    }
}

/// Everything after the requester's release.
fn finish(invocation: &Invocation, verdict: Result<(&Served, LiveKey), Failure>) {
    let started = Instant::now();
    let (config, broken) = match Config::load(invocation.config.as_deref()) {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(Failure::new(Stage::Config, Cause::Setup, error))),
    };
    let journal = Journal::open(&config.log);
    let subject = Subject::of(invocation);
    match verdict {
        Ok((served, live)) => {
            // From here on the key ends in time even if we do not; a little later than we would end it.
            live.shorten((config.timeouts.deadline.0 + DEADLINE_GRACE).min(CEILING));
            let mut upcall = Upcall { invocation, config: &config, started, timings: Vec::new() };
            let outcome = match broken {
                Some(failure) => fail(live, failure, &config),
                None => upcall.negotiate(live, served),
            };
            journal.upcall(&subject, &outcome, &upcall.timings);
        }
        Err(failure) => journal.upcall(&subject, &Outcome::Failed(failure), &[]),
    }
}

/// Logs an upcall that could not even be taken apart.
pub(super) fn log_unusable(unusable: &Unusable) {
    let config = Config::load(None).unwrap_or_default();
    Journal::open(&config.log).unusable(unusable);
}

/// The worker, still to be reaped, and what it said.
type Conversation = (Process, Result<Report, Failure>);

struct Upcall<'a> {
    invocation: &'a Invocation,
    config: &'a Config,
    started: Instant,
    timings: Vec<Timing>,
}

impl Upcall<'_> {
    fn negotiate(&mut self, live: LiveKey, served: &Served) -> Outcome {
        self.timings.push(Timing { stage: Stage::Authorise, micros: served.micros });
        // The front has parsed the same words; what it accepted is accepted again.
        let callout =
            std::str::from_utf8(&self.invocation.callout).ok().and_then(|text| text.parse::<Callout>().ok());
        let Some(callout) = callout else {
            return fail(live, Failure::new(Stage::Authorise, Cause::BadRequest, "callout"), self.config);
        };
        let (worker, agreed) = match self.run_worker(&live, &callout, served) {
            Ok((worker, report)) => (Some(worker), report.and_then(|report| self.believe(report))),
            Err(failure) => (None, Err(failure)),
        };
        let outcome = match agreed {
            Ok(agreed) => self.publish(live, &callout, agreed),
            Err(failure) => fail(live, failure, self.config),
        };
        // Only now: the requester does not wait for the end of a process.
        worker.inspect(|worker| worker.kill_and_reap(REAP_PATIENCE));
        outcome
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
        let waiting =
            ours.try_clone().map_err(|e| launch_failed(Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
        // The request lies in the socket before anyone reads it: whoever fails early need not wait to be asked.
        let mut link = Link::new(ours);
        link.send_request(&self.request(callout)).map_err(worker_fault)?;
        let monitor = Process::open(getpid()).map_err(launch_failed)?;
        match process::fork_confined().map_err(launch_failed)? {
            Forked::Child => {
                drop((link, waiting));
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
                drop(theirs);
                let worker = Process::open(pid).map_err(launch_failed)?;
                let report = self.await_report(&worker, waiting, link);
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

/// A context that has passed the checks.
struct Agreed {
    context: Context,
    lifetime: Lifetime,
    credential: String,
}

/// Rule S12, on our side of the worker: window, handle, encryption type, key length and end must make sense.
fn check(
    context: Established,
    base_key: Secret,
    handle: &[u8],
    allowed: &Enctypes,
) -> Result<Agreed, Failure> {
    let bad = |what: &str| Failure::new(Stage::Publish, Cause::WorkerFault, format_args!("S12: {what}"));
    let enctype = Enctype::try_from(context.enctype).map_err(|error| bad(&error.to_string()))?;
    if !allowed.allow(enctype) {
        return Err(bad(&format!("context of {enctype}; allowed by lgss.toml: {allowed}")));
    }
    let key_origin = if context.acceptor_subkey { KeyOrigin::AcceptorSubkey } else { KeyOrigin::Initiator };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let left = u64::from(context.endtime).saturating_sub(now);
    let lifetime = Lifetime::from_secs(context.lifetime).at_most(Duration::from_secs(left)).less_margin();
    if lifetime.as_secs() == 0 {
        let detail = "the context is valid for less than a second or two";
        return Err(Failure::new(Stage::Publish, Cause::TicketExpired, detail));
    }
    Ok(Agreed {
        context: Context {
            window: SeqWindow::new(context.window).ok_or_else(|| bad("sequence window of 0"))?,
            handle: Handle::new(handle).ok_or_else(|| bad("no handle, or one too long"))?,
            base_key: BaseKey::new(enctype, base_key)
                .ok_or_else(|| bad("key of a wrong length, or all zeros"))?,
            key_origin,
            endtime: context.endtime,
            send_sequence: context.send_sequence,
        },
        lifetime,
        credential: crate::event::one_line(&context.credential),
    })
}

/// Fails the key: the error stays readable for the negative-cache time.
fn fail(live: LiveKey, failure: Failure, config: &Config) -> Outcome {
    let ttl = config.timeouts.negative_cache.0;
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
