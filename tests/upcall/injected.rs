//! System calls that fail: whatever fails along an upcall, the requester has an answer in time, no process, key or temporary file is
//! left, no process crashes, and the next upcall succeeds (rule S19).
//!
//! Each call of front, monitor and worker fails once, with the next of the errors; `LGSS_EVERY_ERROR=1` lets each fail with all
//! of them.

use crate::support::blows::each_call;
use crate::support::leftovers::{expect_next_served, expect_nothing_left, run_files};
use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use lgss::private_to_lgss::config::CEILING;
use nix::errno::Errno;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

crate::trials![
    whatever_fails_in_the_front_the_requester_is_answered,
    whatever_fails_in_the_monitor_the_requester_is_answered,
    whatever_fails_in_the_worker_the_requester_is_answered,
];

/// What the kernel says when something has run out, was interrupted, is broken or is not there.
const ERRORS: [Errno; 7] =
    [Errno::ENOMEM, Errno::EMFILE, Errno::ENOSPC, Errno::EINTR, Errno::EIO, Errno::ENOSYS, Errno::EAGAIN];

/// The upcall's own limit, and what a requester may wait in all.
const DEADLINE: &str = "5s";
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// Settings that leave each step less time than the requester has.
pub(crate) const SETTINGS: Settings<'_> =
    Settings { deadline: DEADLINE, kdc: "3s", connect: "2s", round: "2s", ..Settings::DEFAULT };

/// Fails every call of `role` in turn, of which there are `least` at least; of a hundred, `unanswered` at most leave the key to
/// its own timeout.
fn fail_each_call(shared: &Shared, role: &str, least: u32, unanswered: u32) {
    let (points, left) = (AtomicU32::new(0), AtomicU32::new(0));
    let every = std::env::var_os("LGSS_EVERY_ERROR").is_some();
    each_call(shared, ("fail", role), &SETTINGS, |site, call, instance| {
        let first = usize::try_from(call).unwrap() % ERRORS.len();
        let errors = if every { 0..ERRORS.len() } else { first..first + 1 };
        errors.into_iter().all(|error| {
            let injected = inject(site, shared, &format!("{instance}-{}", ERRORS[error] as i32));
            points.fetch_add(u32::from(injected.done.is_some()), Ordering::SeqCst);
            left.fetch_add(u32::from(injected.outcome.is_none()), Ordering::SeqCst);
            injected.done.is_some()
        })
    });
    let (points, left) = (points.into_inner(), left.into_inner());
    eprintln!("{role}: {points} points, {left} left to the key's timeout");
    assert!(points >= least, "only {points} calls of the {role}");
    assert!(
        left * 100 <= points * unanswered,
        "{left} of {points} failing calls leave the key without an answer"
    );
}

/// What one injected fault leads to.
pub(crate) struct Injected {
    /// The killer's words about it; `None` if there is no such call.
    pub(crate) done: Option<String>,
    /// `None` if the key had no answer before its own timeout.
    pub(crate) outcome: Option<Outcome>,
}

/// Injects the fault that the instance names into an upcall. Then nothing is left, and the next upcall succeeds.
pub(crate) fn inject(site: &Site, shared: &Shared, instance: &str) -> Injected {
    let before = run_files(site);
    let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{instance}"));
    let mut steps = as_user(site.uid());
    let first = steps.len();
    steps.extend([Step::Request(request), Step::Settle { within_ms: 10_000 }, Step::Expiry, Step::Pause]);
    let until_its_end = CEILING + Duration::from_secs(10);
    steps.push(Step::Settle { within_ms: until_its_end.as_millis().try_into().unwrap() });
    let start = Instant::now();
    let mut requester = Probe::start(&steps);
    let findings = requester.until_pause();
    let took = start.elapsed();
    let outcome = match &findings[first..] {
        [Finding::Requested { serial: Some(_), .. }, Finding::Unsettled, Finding::ExpiresIn { seconds }] => {
            assert!(seconds.is_some_and(|left| left <= CEILING.as_secs()), "{instance}: no end");
            expect_its_end(&mut requester, instance);
            None
        }
        answered => {
            let outcome = Outcome::of_any_wait(answered);
            assert!(took < stretched(ANSWERED_WITHIN), "{instance}: took {took:?}: {outcome:?}");
            Some(outcome)
        }
    };
    // Its session ends with it.
    drop(requester);
    let done = site.struck(instance);
    assert!(outcome.is_some() || done.is_some(), "{instance}: no answer, though nothing was struck");
    expect_nothing_left(site, &before, instance);
    expect_next_served(site, shared.nfs(), &format!("{instance}, {outcome:?}"));
    Injected { done, outcome }
}

/// Without memory the monitor dies, as when it is killed; the key's own timeout is its end then. The first such key of a run
/// is waited for: each may take as long as [`CEILING`].
fn expect_its_end(requester: &mut Probe, instance: &str) {
    static WAITED: AtomicBool = AtomicBool::new(false);
    if WAITED.swap(true, Ordering::SeqCst) {
        return;
    }
    requester.go_on();
    let findings = requester.rest();
    let Some(Finding::Settled { payload: None, errno }) = findings.last() else {
        panic!("{instance}: a key outlives its timeout: {findings:?}")
    };
    assert_eq!(Errno::from_raw(*errno), Errno::EKEYEXPIRED, "{instance}");
}

fn whatever_fails_in_the_front_the_requester_is_answered(shared: &Shared) {
    fail_each_call(shared, "front", 50, 0);
}

fn whatever_fails_in_the_monitor_the_requester_is_answered(shared: &Shared) {
    // Where it gets no memory it dies.
    fail_each_call(shared, "monitor", 350, 4);
}

fn whatever_fails_in_the_worker_the_requester_is_answered(shared: &Shared) {
    fail_each_call(shared, "worker", 700, 0);
}
