//! The child of the front that outlives all others, as root: the watchdog first of the front, then of the negotiation.
//!
//! It holds the key; the negotiation itself is in [`super::negotiation`]. Invariant: it ends only after the key has
//! been published or failed, and the worker reaped.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::setsid;

use super::authorise::Acting;
use super::cgroup::OwnerCgroup;
use super::container;
use super::held::KeyToAnswer;
use super::invocation::{Invocation, Unusable};
use super::job::Job;
use super::lines::Lines;
use super::log_budget::Payer;
use super::lustre_parameters;
use super::negotiation::{Room, negotiate};
use super::outcome::Journal;
use super::shared::Shared;
use super::slots::{Claimant, Slot};
use super::sweep::sweep;
use super::teller;
use super::times::Times;
use super::verdict::{Served, Verdict};
use crate::config::{CEILING, Config, LogLevel};
use crate::ctx::request::OnPause;
use crate::event::{Cause, Failure, Stage};
use crate::identity::counted_owner::CountedOwner;
use crate::key::{Authority, Consumer, KeySerial, REJECT_TTL, authority};
use crate::sys::heap;
use crate::sys::heir::{self, Inheritance, Predecessor, Succession};
use crate::sys::jail::{self, OomScore};
use crate::sys::process::{self, Process, WaitingParent};

/// Time between the deadline and the key's own expiry, so that waiting programs see the error and not an expired key.
/// The kernel counts whole seconds, and the first may be almost over.
const DEADLINE_GRACE: Duration = Duration::from_secs(2);
/// Longest silent wait for a killed worker; then the log says so.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// Time limit for the log line about a front that was killed.
const LAST_WORDS_SECONDS: u32 = 30;

/// Delay before the first check whether the front has ended; by then it normally has. To be woken by a descriptor of
/// the front would lengthen the requester's wait by a twentieth; this costs nothing.
const FIRST_LOOK: Duration = Duration::from_micros(500);
const NEXT_LOOK: Duration = Duration::from_micros(250);
/// Time limit for the front's verdict.
const VERDICT_LIMIT: Duration = Duration::from_millis(250);
/// The same while the front only waits for a processor, so that hundreds of upcalls at a time are served, not rejected.
const BUSY_VERDICT_LIMIT: Duration = Duration::from_secs(5);

/// Starts the monitor.
///
/// # Errors
/// Those of clone(2).
pub(super) fn start(invocation: Invocation, authority: &Authority) -> Result<&'static Shared, Errno> {
    let key = invocation.key.raw();
    let shared: &'static Shared = Box::leak(Box::new(Shared::new(invocation, authority)));
    let patience = Succession {
        first_look: FIRST_LOOK,
        next_look: NEXT_LOOK,
        limit: VERDICT_LIMIT,
        busy_limit: BUSY_VERDICT_LIMIT,
        key,
        errno: Cause::Deadline.errno(),
        ttl: REJECT_TTL,
        handover: &shared.handover,
        starved: &shared.starved,
    };
    let had_finished = |shared: &'static Shared| shared.verdict.get().is_some();
    heir::spawn_heir(patience, Inheritance { had_finished, entry: watch, argument: shared })?;
    Ok(shared)
}

/// Runs once the front has ended or left the decision to the monitor. Until then the monitor only sleeps, since any
/// processor time that it used would prolong the requester's wait. An overdue front has been killed: reading /proc of a
/// requester can block for as long as its process is in exec, and nothing else ends that.
fn watch(shared: &'static Shared, front: Predecessor) -> i32 {
    // First, since the clock of a held key inherits score and group.
    jail::set_oom_score(OomScore::Never);
    let joined = match shared.invocation.consumer {
        Consumer::Kernel => authority::join_kernel_key_group(),
        Consumer::Program => Ok(()),
    };
    let verdict = match front {
        Predecessor::Ended => take_verdict(shared, None),
        Predecessor::Waits(_) => take_verdict(shared, Some(WaitingParent::parent())),
        Predecessor::Killed => {
            // In case the front instantiated the key at the last moment.
            shared.live_key().fail();
            mistrust_memory();
            Err(shared.overdue())
        }
    };
    let verdict = verdict.and_then(|taken| joined.map(|()| taken).map_err(without_group));
    if !matches!(verdict, Ok((_, KeyToAnswer::Held(_)))) {
        authority::give_up_used();
    }
    let _ = (setsid(), jail::leave_no_core());
    process::reset_inherited();
    finish(shared, verdict);
    0
}

/// The key is dropped: one that is held is rejected, and one that is instantiated ends by its timeout, since only its group
/// may write to it.
fn without_group(errno: Errno) -> Failure {
    let detail = format_args!("the group of Lustre's keys cannot be joined: {errno}");
    Failure::new(Stage::Publish, Cause::Setup, detail)
}

/// For a front without a verdict, which may have been killed anywhere. Whatever it was changing, the heap included,
/// stays as it is; if it held a lock that we need, the alarm ends us. The key has been answered; only the log line is
/// left.
fn mistrust_memory() {
    nix::unistd::alarm::set(LAST_WORDS_SECONDS);
    heap::leave_as_it_is();
}

fn take_verdict(
    shared: &'static Shared,
    front: Option<WaitingParent>,
) -> Result<(&'static Served, KeyToAnswer), Failure> {
    match shared.verdict.get() {
        Some(Verdict::Served(served)) => {
            Ok((served, KeyToAnswer::Live(shared.live_key().in_foreign_ring(served.foreign_ring))))
        }
        Some(Verdict::Undecided(undecided)) => {
            Ok((&undecided.served, KeyToAnswer::held(shared.authority(), undecided, shared.waits(), front)))
        }
        Some(Verdict::Refused(failure)) => Err(failure.clone()),
        None => {
            // It may have ended before or after the instantiation: one of these two calls answers the key.
            let _ = shared.authority().reject(Cause::Setup.errno());
            shared.live_key().fail();
            mistrust_memory();
            Err(Failure::new(Stage::Authorise, Cause::Setup, "the front process ended without a verdict"))
        }
    }
}

/// Everything after the front: the negotiation, the log, the clean-up.
fn finish(shared: &Shared, verdict: Result<(&Served, KeyToAnswer), Failure>) {
    let invocation = &shared.invocation;
    let started = Instant::now();
    let (config, broken) = match Config::load(invocation.config.as_deref()) {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(Failure::new(Stage::Config, Cause::Setup, error))),
    };
    let served = verdict.as_ref().ok().map(|(served, _)| *served);
    let journal = Journal::open(&config, level(invocation, &config), payer(invocation, served));
    let lines = Lines::of(shared, &journal, &config);
    match verdict {
        Ok((served, mut key)) => {
            let job = Job { invocation, served, waits: shared.waits(), config: &config };
            // From here on the key expires by itself, a little after the time at which we would fail it.
            let limit = time_limit(invocation, &config);
            let mounts = key.limit((limit + DEADLINE_GRACE).min(CEILING), &config);
            serve(job, key, Times::of(started, limit, mounts), broken, &lines);
        }
        Err(failure) => lines.refused(failure),
    }
    if !heap::is_left() {
        sweep(&config).iter().for_each(|line| log::warn!("{line}"));
    }
    // Before this process becomes another: the one that has lent keyrings may wait to be reaped, in the same session.
    served.and_then(|served| served.loan).inspect(|lending| lending.abandon());
    authority::let_go_of_keys(invocation.key);
    if let Some(untold) = journal.close() {
        teller::become_teller(&untold, invocation.config.as_deref());
    }
}

/// Has the context negotiated, unless the settings are `broken` or there is no slot.
fn serve(job: Job<'_>, key: KeyToAnswer, times: Times, broken: Option<Failure>, lines: &Lines<'_>) {
    let Job { invocation, served, config, .. } = job;
    let admitted = match broken {
        Some(failure) => Err(failure),
        None => container::settings_for(config, served).and_then(|settings| {
            let slot = Slot::take(config, claimant(invocation, served), times.deadline)?;
            Ok((slot, settings))
        }),
    };
    match admitted {
        Ok((slot, settings)) => {
            let cgroup = OwnerCgroup::of(config, payer(invocation, Some(served)));
            let room = Room { cgroup: cgroup.as_ref(), paused: slot.paused() };
            let ended = negotiate(Job { config: &settings, ..job }, key, times, room);
            slot.remember(&ended.outcome, ended.findings.tried.expose().as_deref());
            lines.ended(&ended);
            // Last, so that no requester waits for the end of a process.
            ended.processes.iter().for_each(|process| reap(process, lines));
            slot.give_back();
            cgroup.into_iter().for_each(OwnerCgroup::leave);
        }
        Err(failure) => {
            let outcome = key.fail(failure, served.acting, config, times.deadline);
            lines.outcome(&outcome, &[]);
        }
    }
}

/// The deadline of the settings, and for Lustre at most the time after which the kernel gives up.
fn time_limit(invocation: &Invocation, config: &Config) -> Duration {
    let limit = config.timeouts.deadline.0;
    match invocation.consumer {
        Consumer::Program => limit,
        Consumer::Kernel => lustre_parameters::context_limit().map_or(limit, |kernels| kernels.min(limit)),
    }
}

/// The log level: of the settings, or of Lustre's parameter for its upcalls.
fn level(invocation: &Invocation, config: &Config) -> LogLevel {
    match invocation.consumer {
        Consumer::Program => config.log.level,
        Consumer::Kernel => lustre_parameters::log_level().unwrap_or(config.log.level),
    }
}

fn claimant<'a>(invocation: &Invocation, served: &'a Served) -> Claimant<'a> {
    let anew = served.order.program().map_or(OnPause::Respect, |callout| callout.on_pause);
    match (&served.places.user_namespace, served.acting) {
        (Some(_), _) if invocation.uid == 0 => Claimant::Machine(anew),
        (Some(namespace), _) => Claimant::User(invocation.uid, namespace.as_fd(), anew),
        (None, Acting::Machine) => Claimant::LustreMachine,
        (None, _) => Claimant::LustreUser,
    }
}

/// The account that the log lines are charged to. Of a refused request nothing is known but what the kernel says.
fn payer(invocation: &Invocation, served: Option<&Served>) -> Payer {
    let user = |uid| if uid == 0 { Payer::Machine } else { Payer::User(CountedOwner::User(uid)) };
    let Some(served) = served else { return Payer::of_refused(invocation.uid) };
    match claimant(invocation, served) {
        Claimant::Machine(_) | Claimant::LustreMachine => Payer::Machine,
        Claimant::User(uid, namespace, _) => CountedOwner::of(namespace, uid).map_or(user(uid), Payer::User),
        Claimant::LustreUser => Payer::of_lustre_user(served.order.owner(invocation).0),
    }
}

/// Kills the worker and waits for its end. A worker blocked by a file system ends when that answers or is gone; until
/// then it counts as a negotiation (rule S8), so we wait.
fn reap(worker: &Process, lines: &Lines<'_>) {
    let _ = worker.kill();
    if !worker.wait_for_end(REAP_PATIENCE) {
        lines.stuck(worker.id());
        while !worker.wait_for_end(Duration::MAX) {}
    }
    worker.reap();
}

/// Logs an upcall whose arguments could not be parsed, in the log that the rule's settings name.
pub(super) fn log_unusable(unusable: &Unusable, key: KeySerial) {
    let config = Config::load(unusable.config.as_deref()).unwrap_or_default();
    // No teller for lines left out, which the next line reports: the kernel waits for this process to end.
    Journal::open(&config, config.log.level, Payer::Unknown).unusable(unusable, key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upcall::order::Order;
    use crate::upcall::places::Places;
    use std::ffi::OsString;
    use std::fs::File;
    use std::os::fd::OwnedFd;

    const PROGRAM: [&str; 3] = ["user", "lgss:1000:nfs@h", "lgss1;svc=nfs@h;chan=rpc:h:1,2,3"];
    const USERS: [&str; 3] =
        ["lgssc", "2001@4", "4:krb5:2001:2002::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff:0x0:557:"];

    fn invocation([key_type, description, callout]: [&str; 3], uid: &str) -> Invocation {
        let words = ["create", "77", key_type, description, callout, uid, "100", "0", "0", "5"];
        Invocation::parse(words.into_iter().map(OsString::from)).unwrap()
    }

    fn null() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    fn served(invocation: &Invocation, acting: Acting, user_namespace: Option<OwnedFd>) -> Served {
        let order: &'static Order = Box::leak(Box::new(Order::read(invocation).unwrap()));
        let places =
            Places { root: null(), network: null(), user_namespace, environment: None, container: None };
        Served { order, acting, micros: 0, places, foreign_ring: None, loan: None }
    }

    fn own_namespace() -> Option<OwnedFd> {
        Some(File::open("/proc/self/ns/user").unwrap().into())
    }

    #[test]
    fn a_slot_and_lines_are_charged_to_whoever_asks_and_to_the_user_whom_lustre_names() {
        let of = |words, uid, acting, namespace| {
            let invocation = invocation(words, uid);
            let served = served(&invocation, acting, namespace);
            let claimant = match claimant(&invocation, &served) {
                Claimant::User(uid, ..) => format!("user {uid}"),
                Claimant::Machine(_) => "root".to_owned(),
                Claimant::LustreUser => "Lustre's user".to_owned(),
                Claimant::LustreMachine => "Lustre's machine".to_owned(),
            };
            (claimant, payer(&invocation, Some(&served)))
        };
        let user = |uid| Payer::User(CountedOwner::User(uid));
        assert_eq!(of(PROGRAM, "1000", Acting::ForItself, own_namespace()), ("user 1000".into(), user(1000)));
        assert_eq!(of(PROGRAM, "0", Acting::ForItself, own_namespace()), ("root".into(), Payer::Machine));
        assert_eq!(of(USERS, "0", Acting::ForAnother, None), ("Lustre's user".into(), user(2001)));
        assert_eq!(of(USERS, "0", Acting::Machine, None), ("Lustre's machine".into(), Payer::Machine));
    }

    #[test]
    fn of_a_refused_request_the_uid_alone_is_charged() {
        assert_eq!(payer(&invocation(PROGRAM, "0"), None), Payer::Machine);
        let uid = u32::MAX - 7;
        let refused = payer(&invocation(PROGRAM, &uid.to_string()), None);
        assert_eq!(refused, Payer::Refused(CountedOwner::User(uid)));
    }

    #[test]
    fn a_programs_time_and_log_level_are_those_of_the_settings() {
        let mut config = Config::default();
        config.timeouts.deadline = crate::config::Seconds::of(17);
        config.log.level = LogLevel::Debug;
        let program = invocation(PROGRAM, "1000");
        assert_eq!(time_limit(&program, &config), Duration::from_secs(17));
        assert_eq!(level(&program, &config), LogLevel::Debug);
        // The kernel may give up earlier, never later.
        assert!(time_limit(&invocation(USERS, "0"), &config) <= Duration::from_secs(17));
    }
}
