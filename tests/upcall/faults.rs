//! Processes that die at any time: the requester is always answered, and nothing is left (rule S19).

use crate::support::blows::{crashes, each_call};
use crate::support::leftovers::{expect_next_served, expect_no_keys_left, expect_nothing_left, run_files};
use crate::support::link_map::released_map;
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Request, Step, as_user, probe};
use crate::support::process::Process;
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::{RELEASED_WITHIN, Rule, Settings, Site};
use crate::support::wait::{stretched, wait_for};
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use std::fs;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

crate::trials![
    a_killed_worker_fails_the_key_at_once,
    a_killed_monitor_leaves_the_end_to_the_keys_own_timeout,
    a_stopped_worker_is_ended_by_the_deadline,
    the_front_killed_at_any_system_call_releases_the_requester_at_once,
    a_front_that_hangs_is_killed_and_the_requester_released,
    of_a_front_killed_anywhere_in_the_allocator_the_monitor_answers_the_key_and_tells,
    the_monitor_killed_at_any_system_call_leaves_no_key_for_ever,
    the_worker_killed_at_any_system_call_fails_the_key_at_once,
    a_requester_killed_while_it_waits_leaves_nothing,
    a_requester_in_exec_is_released,
    a_missing_worker_is_a_fault_of_the_installation,
    a_worker_that_others_may_write_is_not_started,
    a_configuration_that_others_may_write_is_not_read,
    a_mistake_in_the_configuration_fails_the_key,
];

/// A deadline that leaves time to reach the server on a busy machine, too.
const REACHED_WITHIN: &str = "8s";
/// Long after that.
const SETTLED_WITHIN: Duration = Duration::from_secs(25);

/// A requester whose negotiation waits for a server that never answers.
struct Waiting {
    site: Site,
    requester: Probe,
    _server: Server,
}

impl Waiting {
    fn new(shared: &Shared, deadline: &str) -> Self {
        let settings = Settings { deadline, round: "100s", connect: "100s", ..Default::default() };
        let site = Site::with(shared.realm(), &settings);
        site.ticket(shared.realm());
        let server = Server::silent();
        let mut steps = as_user(site.uid());
        steps.extend([Step::Request(site.request(&shared.nfs().at(server.port()))), Step::Pause]);
        steps.push(Step::Settle { within_ms: 30_000 });
        let mut requester = Probe::start(&steps);
        requester.until_pause();
        wait_for("the worker at the server", Duration::from_secs(10), || {
            (server.connections() > 0).then_some(())
        });
        Self { site, requester, _server: server }
    }

    fn worker(&self) -> Process {
        self.site.wait_for_process("lgss_negotiate")
    }

    /// How the key ends, and after how long.
    fn settle(&mut self) -> (Finding, Duration) {
        let start = Instant::now();
        self.requester.go_on();
        let findings = self.requester.rest();
        (findings.last().expect("the probe settles").clone(), start.elapsed())
    }
}

#[track_caller]
fn failed_with(finding: &Finding) -> Errno {
    let request = Finding::Requested { serial: Some(1), errno: 0, micros: 0 };
    Outcome::of(&[request, finding.clone()]).errno()
}

fn a_killed_worker_fails_the_key_at_once(shared: &Shared) {
    let mut waiting = Waiting::new(shared, "60s");
    kill(waiting.worker().pid, Signal::SIGKILL).unwrap();
    let (finding, took) = waiting.settle();
    assert_eq!(failed_with(&finding), Errno::EIO);
    // Half of the deadline.
    assert!(took < Duration::from_secs(30), "took {took:?}");
    waiting.site.log.wait_for_words(&["EIO", Cause::WorkerFault.remedy()]);
    waiting.site.wait_until_idle();
}

fn a_killed_monitor_leaves_the_end_to_the_keys_own_timeout(shared: &Shared) {
    let mut waiting = Waiting::new(shared, REACHED_WITHIN);
    kill(waiting.site.wait_for_process("lgss_keyring").pid, Signal::SIGKILL).unwrap();
    // The worker ends with its monitor.
    waiting.site.wait_until_idle();
    let (finding, took) = waiting.settle();
    assert_eq!(failed_with(&finding), Errno::EKEYEXPIRED);
    assert!(took < SETTLED_WITHIN, "took {took:?}");
}

fn a_stopped_worker_is_ended_by_the_deadline(shared: &Shared) {
    let mut waiting = Waiting::new(shared, REACHED_WITHIN);
    kill(waiting.worker().pid, Signal::SIGSTOP).unwrap();
    let (finding, took) = waiting.settle();
    assert_eq!(failed_with(&finding), Errno::ETIMEDOUT);
    assert!(took < SETTLED_WITHIN, "took {took:?}");
    waiting.site.wait_until_idle();
}

/// Outcome of killing one process at one of its system calls.
struct Killed {
    /// False if the process made fewer calls.
    reached: bool,
    /// The monitor was first.
    by_another: bool,
    outcome: Outcome,
    took: Duration,
}

/// The five seconds of a front that waits for a processor, and the rest of the request.
const STEPPED_WITHIN: Duration = Duration::from_secs(8);

/// Kills `role` at each call in turn, several at a time, until it makes no more calls. Returns how many it makes.
fn kill_at_each_call(
    shared: &Shared,
    role: &str,
    deadline: &str,
    check: impl Fn(u32, &Killed) + Sync,
) -> u32 {
    let settings = Settings { deadline, ..Default::default() };
    each_call(shared, ("kill", role), &settings, |site, call, instance| {
        let killed = kill_at(site, shared.nfs(), instance);
        if killed.reached {
            check(call, &killed);
        }
        killed.reached
    })
}

/// Afterwards nothing is left, and the next upcall is served.
fn kill_at(site: &Site, target: &Target, instance: &str) -> Killed {
    let before = run_files(site);
    let request = site.request_as(&site.uid().to_string(), target, &format!(":{instance}"));
    let start = Instant::now();
    let outcome =
        if instance.starts_with("tear") { ask_stepped(site, request) } else { site.ask_with(request) };
    let took = start.elapsed();
    let struck = site.struck(instance);
    let by_another = struck.as_ref().is_some_and(|told| told.contains("by another"));
    expect_nothing_left(site, &before, instance);
    expect_next_served(site, target, instance);
    Killed { reached: struck.is_some(), by_another, outcome, took }
}

/// A front that is single-stepped takes so much of a busy processor that the monitor may give it the time of one that only
/// waits for a processor.
fn ask_stepped(site: &Site, request: Request) -> Outcome {
    let mut steps = as_user(site.uid());
    let before = steps.len();
    steps.extend([Step::Request(request), Step::Settle { within_ms: 30_000 }]);
    Outcome::of_any_wait(&probe(&steps)[before..])
}

fn the_front_killed_at_any_system_call_releases_the_requester_at_once(shared: &Shared) {
    // Outcome::of() has checked that the requester was released.
    let calls = kill_at_each_call(shared, "front", "20s", |call, killed| match &killed.outcome {
        // Only the kernel can answer before the monitor exists.
        Outcome::Refused(Errno::ENOKEY | Errno::EIO) => {}
        // Killed after it had done its work.
        Outcome::Established(_) => {}
        Outcome::Failed { errno: Errno::EIO, .. } => {}
        other => panic!("front killed at call {call}: {other:?} after {:?}", killed.took),
    });
    assert!(calls >= 20, "only {calls} calls");
}

/// The front hangs as if a call about keys or a read of the requester's /proc files blocked; the log tells the two
/// apart.
fn a_front_that_hangs_is_killed_and_the_requester_released(shared: &Shared) {
    let site = Site::with(shared.realm(), &Settings { rule: Rule::UpcallUnderKiller, ..Default::default() });
    site.ticket(shared.realm());
    let said = |what| site.log.lines().iter().any(|line| line.contains(what));
    // Calls about keys come first; other users' keys decide how many they are.
    let mut calls = [2, 3, 6, 10].into_iter().chain((14..400).step_by(4));
    while let Some(call) = calls.next().filter(|&call| call < 14 || !said("S6")) {
        let killed = kill_at(&site, shared.nfs(), &format!("hang-front-{call}"));
        assert!(killed.reached, "the front ends before call {call}");
        assert!(matches!(killed.outcome, Outcome::Refused(Errno::ETIMEDOUT)), "{call}: {:?}", killed.outcome);
        site.wait_until_idle();
    }
    site.log.wait_for_words(&["S21", "ETIMEDOUT"]);
    site.log.wait_for_words(&["S6", "exec", "ETIMEDOUT"]);
    site.wait_until_idle();
    assert_eq!(crashes(&site), [""; 0]);
    expect_no_keys_left(&site, "after fronts that hung");
}

/// Such a front leaves a torn heap: the monitor answers the key without it, and writes the line of the log with another.
fn of_a_front_killed_anywhere_in_the_allocator_the_monitor_answers_the_key_and_tells(shared: &Shared) {
    let settings = Settings { deadline: "20s", ..Default::default() };
    let lost = AtomicU32::new(0);
    let lose =
        || assert!(lost.fetch_add(1, Ordering::SeqCst) < 10, "the monitor ends fronts before their points");
    let points = each_call(shared, ("tear", "front"), &settings, |site, point, instance| {
        assert!(point < 1000, "a front allocates without end");
        let told = || site.log.lines().iter().filter(|line| line.contains("ended without a verdict")).count();
        let before = told();
        let killed = kill_at(site, shared.nfs(), instance);
        assert!(killed.took < stretched(STEPPED_WITHIN), "front killed at point {point}: {:?}", killed.took);
        if killed.reached {
            match &killed.outcome {
                // By the monitor: another trial held the kernel's key locks, or stepping took too long.
                Outcome::Refused(Errno::ETIMEDOUT) => lose(),
                Outcome::Failed { errno: Errno::EIO, .. } if killed.by_another => lose(),
                // The kernel may answer before the monitor.
                Outcome::Refused(Errno::ENOKEY | Errno::EIO) | Outcome::Failed { errno: Errno::EIO, .. } => {
                    wait_for("a line of the front that was killed", Duration::from_secs(10), || {
                        (told() > before).then_some(())
                    });
                }
                // Killed after it had done its work.
                Outcome::Established(_) => {}
                other => panic!("front killed at point {point}: {other:?} after {:?}", killed.took),
            }
        }
        killed.reached
    });
    // A front of the released program with musl has some 5400 instructions of malloc, free and realloc. One with a shared C library
    // is stepped everywhere, until the monitor ends it because it takes so long.
    let is_musls = released_map().is_some_and(|map| map.contains("libc.a(malloc.lo)"));
    let least = if is_musls { 150 } else { 30 };
    let points = points - lost.into_inner();
    assert!(points >= least, "only {points} points");
}

/// A monitor that dies before it has read the configuration leaves the timeout that the front set.
fn the_monitor_killed_at_any_system_call_leaves_no_key_for_ever(shared: &Shared) {
    let ceiling = lgss::private_to_lgss::config::CEILING.as_secs();
    let settings = Settings { deadline: "5s", ..Default::default() };
    let steps = |site: &Site, request: Request| {
        let mut steps = as_user(site.uid());
        steps.extend([Step::Request(request), Step::Settle { within_ms: 2000 }, Step::Expiry]);
        steps
    };
    let keys = AtomicUsize::new(0);
    each_call(shared, ("kill", "monitor"), &settings, |site, call, instance| {
        let before = run_files(site);
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{instance}"));
        let findings = probe(&steps(site, request));
        if let (Some(Finding::Requested { serial: Some(_), .. }), Some(Finding::ExpiresIn { seconds })) =
            (findings.get(2), findings.last())
        {
            keys.fetch_add(1, Ordering::Relaxed);
            assert!(seconds.is_some(), "monitor killed at call {call}: the key stays for ever: {findings:?}");
            let unsettled = matches!(findings.get(3), Some(Finding::Unsettled));
            let bound = seconds.is_some_and(|seconds| seconds <= ceiling);
            assert!(!unsettled || bound, "monitor killed at call {call}: {findings:?}");
        }
        let killed = site.was_killed(instance);
        expect_nothing_left(site, &before, instance);
        expect_next_served(site, shared.nfs(), instance);
        killed
    });
    assert!(keys.into_inner() >= 50, "hardly any request got a key");
}

fn the_worker_killed_at_any_system_call_fails_the_key_at_once(shared: &Shared) {
    let calls = kill_at_each_call(shared, "worker", "60s", |call, killed| {
        let good = match &killed.outcome {
            Outcome::Established(_) => true,
            other => other.errno() == Errno::EIO,
        };
        assert!(good, "worker killed at call {call}: {:?}", killed.outcome);
        let at_once = killed.took < stretched(Duration::from_secs(5));
        assert!(at_once, "worker killed at call {call}: took {:?}", killed.took);
    });
    assert!(calls >= 500, "only {calls} calls");
}

fn a_requester_killed_while_it_waits_leaves_nothing(shared: &Shared) {
    let waiting = Waiting::new(shared, REACHED_WITHIN);
    waiting.requester.signal(Signal::SIGKILL);
    waiting.site.wait_until_idle();
    let site = &waiting.site;
    site.log.wait_for_words(&[&format!("uid {} ", site.uid()), &shared.nfs().service]);
}

/// One thread is in request_key(2), and another waits for it in execve(2).
fn a_requester_in_exec_is_released(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for round in 0..10 {
        let owner = site.uid().to_string();
        let request: Request = site.request_as(&owner, shared.nfs(), &format!(":exec{round}"));
        let mut steps = as_user(site.uid());
        steps.push(Step::RequestInExec(request));
        let findings = probe(&steps);
        let Some(Finding::ExecDone { micros }) = findings.last() else { panic!("{findings:?}") };
        assert!(Duration::from_micros(*micros) < stretched(RELEASED_WITHIN), "held for {micros} µs");
    }
    site.wait_until_idle();
}

/// The user's request fails with EIO, and the log says what to repair.
#[track_caller]
fn expect_setup_failure(site: &Site, shared: &Shared) {
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::EIO, "log {:#?}", site.log.lines());
    site.wait_until_idle();
}

fn a_missing_worker_is_a_fault_of_the_installation(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    fs::remove_file(site.path("lgss_negotiate")).unwrap();
    expect_setup_failure(&site, shared);
    site.log.wait_for_words(&["lgss_negotiate", "EIO", &site.remedy(Cause::Setup)]);
}

fn a_worker_that_others_may_write_is_not_started(shared: &Shared) {
    use std::os::unix::fs::{PermissionsExt, chown};
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let worker = site.path("lgss_negotiate");
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o733)).unwrap();
    expect_setup_failure(&site, shared);
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o711)).unwrap();
    chown(&worker, Some(site.uid()), None).unwrap();
    expect_setup_failure(&site, shared);
    chown(&worker, Some(0), None).unwrap();
    // A directory above the worker that belongs to another user.
    chown(site.path(""), Some(site.uid()), None).unwrap();
    expect_setup_failure(&site, shared);
    chown(site.path(""), Some(0), None).unwrap();
    drop(site.ask(shared.nfs()).context());
}

fn a_configuration_that_others_may_write_is_not_read(shared: &Shared) {
    use std::os::unix::fs::{PermissionsExt, chown};
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let config = site.path("lgss.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    expect_setup_failure(&site, shared);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    chown(&config, Some(site.uid()), None).unwrap();
    expect_setup_failure(&site, shared);
}

fn a_mistake_in_the_configuration_fails_the_key(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let config = fs::read_to_string(site.path("lgss.toml")).unwrap();
    for wrong in
        [format!("wroker = \"/x\"\n{config}"), config.replace("20s", "20 parsecs"), "\u{0}".to_owned()]
    {
        fs::write(site.path("lgss.toml"), wrong).unwrap();
        expect_setup_failure(&site, shared);
    }
}
