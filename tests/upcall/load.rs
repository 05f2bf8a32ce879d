//! Many requesters at the same time: each is served or told to come back, and nothing is left (rule S8).
//!
//! These tests take the whole machine, so they run after all others and one by one.

use crate::support::crowd::{Crowd, EACH, USERS, WITHIN};
use crate::support::keys::{keys_of, wait_until_forgotten};
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user, probe};
use crate::support::process::Process;
use crate::support::rpc::call_null_with;
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::{RELEASED_WITHIN, Site};
use crate::support::wait::{stretched, wait_for};
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

crate::trials![
    three_hundred_requesters_of_thirty_users_are_all_served,
    beyond_the_limits_requests_fail_with_eagain_and_the_others_are_served,
    with_25_000_keys_of_others_on_the_system_a_requester_is_served,
    with_more_keys_than_can_be_looked_through_in_time_a_requester_is_told_at_once,
];

fn three_hundred_requesters_of_thirty_users_are_all_served(shared: &Shared) {
    let crowd = Crowd::new(shared.realm(), "");
    let outcomes = crowd.ready(shared.nfs()).ask(|| ());
    for (mut of_user, user) in outcomes.into_iter().zip(&crowd.users) {
        // One context of each user is tried out.
        call_null_with(&of_user.pop().unwrap().context(), shared.nfs());
        assert_eq!(count(of_user, user.uid(), &crowd), (EACH - 1, 0));
    }
    assert_nothing_left(&crowd);
}

/// Checks that no process, slot, owner's record or key is left.
#[track_caller]
fn assert_nothing_left(crowd: &Crowd) {
    crowd.site.wait_until_idle();
    let run = crowd.site.path("run");
    let names = |directory| -> Vec<_> {
        fs::read_dir(run.join(directory)).unwrap().flatten().map(|entry| entry.file_name()).collect()
    };
    assert_eq!((names("owners").len(), names("slots")), (0, vec!["users".into()]));
    for user in &crowd.users {
        wait_until_forgotten(user.uid());
    }
}

/// How many requesters of this user have a context, and how many were told to come back; any other outcome fails the test.
#[track_caller]
fn count(outcomes: Vec<Outcome>, uid: u32, crowd: &Crowd) -> (usize, usize) {
    let total = outcomes.len();
    let told = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Established(_)));
    let away = told.clone().filter(|outcome| outcome.errno() == Errno::EAGAIN).count();
    if away < told.count() {
        let mut lines = crowd.site.log.lines();
        lines.retain(|line| line.contains(&format!(" uid {uid} ")));
        panic!("{outcomes:#?}, of which the log says, in {} lines: {lines:#?}", lines.len());
    }
    (total - away, away)
}

fn beyond_the_limits_requests_fail_with_eagain_and_the_others_are_served(shared: &Shared) {
    const A_USER: usize = 4;
    const ALL: usize = 60;
    let limits = format!("[limits]\nper_owner = {A_USER}\nusers = {ALL}\n[backoff]\nafter = 1000\n");
    let crowd = Crowd::new(shared.realm(), &limits);
    // The server answers when all others have been turned away.
    let gate = Arc::new(Mutex::new(()));
    let (closed, passed) = (gate.lock().unwrap(), Arc::clone(&gate));
    let server = Server::between(shared.nfs().address(), move |_| drop(passed.lock()));
    let turned_away = || {
        let monitor = crowd.site.path("lgss_keyring");
        wait_for("the others to be turned away", WITHIN, || {
            let alive = Process::all().into_iter().filter(|process| process.exe == monitor);
            (server.connections() == ALL && alive.count() == ALL).then_some(())
        });
        drop(closed);
    };
    let outcomes = crowd.ready(&shared.nfs().behind(&server)).ask(turned_away);
    let counts: Vec<_> = outcomes
        .into_iter()
        .zip(&crowd.users)
        .map(|(outcomes, user)| count(outcomes, user.uid(), &crowd))
        .collect();
    assert!(counts.iter().all(|(served, _)| *served <= A_USER), "{counts:?}");
    let served = counts.iter().map(|(served, _)| served).sum::<usize>();
    assert_eq!((served, server.connections()), (ALL, ALL), "of {}", USERS * EACH);
    crowd.site.wait_until_idle();
    // All slots are free again.
    crowd.site.ticket(shared.realm());
    drop(crowd.site.ask(shared.nfs()).context());
}

/// The front reads /proc/keys, which costs time for each key of the system: these about 40 ms, or 70 on a slow machine, of
/// the 150 that it may take. They are root's, which the front may also look at, and end with their session.
fn with_25_000_keys_of_others_on_the_system_a_requester_is_served(shared: &Shared) {
    const COUNT: u32 = 25_000;
    let before = keys_of(0);
    let mut others = Probe::start(&[Step::JoinSession, Step::AddKeys { count: COUNT }, Step::Pause]);
    others.until_pause();
    assert!(keys_of(0) >= COUNT, "the keys are not there");
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for instance in [":1", ":2", ":3"] {
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), instance);
        call_null_with(&site.ask_with(request).context(), shared.nfs());
    }
    drop(others);
    wait_for("the keys to be collected", Duration::from_secs(30), || {
        (keys_of(0) < before + COUNT / 100).then_some(())
    });
}

/// So many keys that looking through them would cost every request a quarter of a second or more.
fn with_more_keys_than_can_be_looked_through_in_time_a_requester_is_told_at_once(shared: &Shared) {
    const COUNT: u32 = 110_000;
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let before = keys_of(0);
    let mut others = Probe::start(&[Step::JoinSession, Step::AddKeys { count: COUNT }, Step::Pause]);
    others.until_pause();
    let mut steps = as_user(site.uid());
    steps.push(Step::Request(site.request(shared.nfs())));
    let findings = probe(&steps);
    drop(others);
    let Some(Finding::Requested { serial: None, errno, micros }) = findings.last() else {
        panic!("{findings:?}")
    };
    assert_eq!(Errno::from_raw(*errno), Errno::ETIMEDOUT);
    assert!(Duration::from_micros(*micros) < stretched(RELEASED_WITHIN), "held for {micros} µs");
    site.log.wait_for_words(&["S21", "keys on this machine", "ETIMEDOUT", Cause::ManyKeys.remedy()]);
    wait_for("the keys to be collected", Duration::from_secs(30), || {
        (keys_of(0) < before + COUNT / 100).then_some(())
    });
    // Requests succeed again as soon as these keys and the rejection have gone.
    let request = site.request_as(&site.uid().to_string(), shared.nfs(), ":after");
    drop(site.ask_with(request).context());
}
