//! A user holds the kernel's one lock for all links of keyrings (rule S21): others are served nevertheless.
//!
//! These tests take the whole machine, so they run after all others and one by one.

use crate::support::keyring_lock::{Holder, ask, make_keyrings_of, released_soon};
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{RELEASED_WITHIN, Settings, Site};
use crate::support::wait::stretched;
use lgss::private_to_lgss::event::Cause;
use std::time::Duration;

crate::trials![
    requests_of_others_succeed_while_a_user_holds_the_kernels_keyring_lock,
    keyrings_that_are_not_lent_in_time_are_passed_over_and_the_log_says_so,
    a_cache_in_a_keyring_is_found_once_the_lock_is_free,
];

fn requests_of_others_succeed_while_a_user_holds_the_kernels_keyring_lock(shared: &Shared) {
    let settings =
        Settings { deadline: "60s", kdc: "30s", connect: "30s", round: "30s", ..Default::default() };
    let site = Site::with(shared.realm(), &settings);
    site.ticket(shared.realm());
    make_keyrings_of(&site, shared);
    for processes in [2, 8] {
        let holder = Holder::with(processes);
        released_soon(|number| {
            let instance = format!(":{processes}-{number}");
            let request = site.request_as(&site.uid().to_string(), shared.nfs(), &instance);
            let (outcome, blocked) = ask(&site, request, None);
            call_null_with(&outcome.context(), shared.nfs());
            blocked
        });
        drop(holder);
    }
    site.wait_until_idle();
}

fn keyrings_that_are_not_lent_in_time_are_passed_over_and_the_log_says_so(shared: &Shared) {
    // Each place may take a sixth of the KDC's time.
    let site = Site::with(shared.realm(), &Settings { kdc: "1200ms", deadline: "60s", ..Default::default() });
    site.ticket(shared.realm());
    make_keyrings_of(&site, shared);
    let holder = Holder::with(8);
    let mut instances = 0;
    let said = ["keyrings: passed over: ", "the kernel's keyring lock was held"];
    while !site.log.lines().iter().any(|line| said.iter().all(|words| line.contains(words))) {
        instances += 1;
        assert!(instances < 20, "never passed over: {:#?}", site.log.lines());
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{instances}"));
        let (_, blocked) = ask(&site, request, None);
        assert!(blocked < 3 * stretched(RELEASED_WITHIN), "blocked for {blocked:?}");
    }
    // A request that names a cache there gets the reason.
    released_soon(|number| {
        let named = site.request_with(shared.nfs(), &format!("cache=KEYRING:session:mine{number}"));
        let (outcome, blocked) = ask(&site, named, None);
        assert_eq!(outcome.errno(), Cause::BadCache.errno(), "{:#?}", site.log.lines());
        blocked
    });
    drop(holder);
    site.wait_until_idle();
}

/// The request need not be repeated: a separate process waits for the lock, and nobody waits for it uninterruptibly.
fn a_cache_in_a_keyring_is_found_once_the_lock_is_free(shared: &Shared) {
    let settings =
        Settings { deadline: "60s", kdc: "60s", connect: "30s", round: "30s", ..Default::default() };
    let site = Site::with(shared.realm(), &settings);
    let mut steps = as_user(site.uid());
    // As in make_keyrings_of().
    steps.push(Step::Request(site.request_as(&site.uid().to_string(), shared.nfs(), ":first")));
    steps.push(shared.realm().kinit(&site.path("krb5.conf"), "KEYRING:session:mine"));
    steps.extend([
        Step::Pause,
        Step::Request(site.request(shared.nfs())),
        Step::Settle { within_ms: 60_000 },
    ]);
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    let holder = Holder::with(1);
    requester.go_on();
    let findings = requester.rest();
    let [_, findings @ ..] = findings.as_slice() else { panic!("{findings:?}") };
    let Some(Finding::Requested { micros, .. }) = findings.first() else { panic!("{findings:?}") };
    assert!(Duration::from_micros(*micros) < stretched(RELEASED_WITHIN), "{findings:?}");
    call_null_with(&Outcome::of(findings).context(), shared.nfs());
    drop(holder);
}
