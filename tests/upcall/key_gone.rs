//! Keys that are revoked, invalidated, unlinked or expired during the negotiation of their context: the upcall ends
//! cleanly.
//!
//! The monitor learns of it when it writes the outcome into the key; to end sooner would help nobody.

use crate::plan::Disposal;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::sync::{Arc, Mutex};
use std::time::Duration;

crate::trials![
    a_key_revoked_during_the_negotiation_ends_it_cleanly,
    a_key_invalidated_during_the_negotiation_ends_it_cleanly,
    a_key_that_expires_during_the_negotiation_ends_it_cleanly,
    a_key_that_its_requester_unlinks_is_finished_and_gone,
    a_failure_that_nobody_waits_for_is_told_in_the_log,
];

/// The requester gets rid of its key while `server` holds its reply back. Returns the errno of reading the key
/// afterwards, and the key.
fn dispose(site: &Site, shared: &Shared, server: &Server, disposal: Disposal) -> (Errno, i32) {
    let mut steps = as_user(site.uid());
    steps.extend([Step::Request(site.request(&shared.nfs().behind(server))), Step::Pause]);
    steps.extend([Step::Dispose(disposal), Step::Settle { within_ms: 5000 }]);
    let mut requester = Probe::start(&steps);
    let findings = requester.until_pause();
    let Some(Finding::Requested { serial: Some(serial), .. }) = findings.last() else {
        panic!("no key: {findings:?}")
    };
    wait_for("the worker at the server", Duration::from_secs(10), || {
        (server.connections() > 0).then_some(())
    });
    requester.go_on();
    match requester.rest().as_slice() {
        [.., Finding::Done, Finding::Settled { payload: None, errno, .. }] => {
            (Errno::from_raw(*errno), *serial)
        }
        other => panic!("the key is still there: {other:?}"),
    }
}

/// Checks the log line of a context that is established after its key has gone.
fn line_after(shared: &Shared, disposal: Disposal, expected: &[Errno], words: &[&str]) {
    let site = Site::with(shared.realm(), &Settings { round: "20s", ..Default::default() });
    site.ticket(shared.realm());
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let passed = Arc::clone(&gate);
    let server = Server::between(shared.nfs().address(), move |_| drop(passed.lock()));
    let (errno, serial) = dispose(&site, shared, &server, disposal);
    assert!(expected.contains(&errno), "a reader of the key sees {errno}");
    assert!(site.log.lines().is_empty(), "the negotiation has ended too early: {:#?}", site.log.lines());
    drop(closed);
    let key = format!("key {serial:08x} uid {} ", site.uid());
    site.log.wait_for_words(&[&[&key as &str], words].concat());
    site.wait_until_idle();
    assert_eq!(site.log.lines().len(), 1, "one line an upcall: {:#?}", site.log.lines());
}

fn ends_cleanly(shared: &Shared, disposal: Disposal, expected: &[Errno]) {
    line_after(shared, disposal, expected, &["publish", "EKEYREVOKED", Cause::KeyGone.remedy()]);
}

fn a_key_revoked_during_the_negotiation_ends_it_cleanly(shared: &Shared) {
    ends_cleanly(shared, Disposal::Revoke, &[Errno::EKEYREVOKED]);
}

fn a_key_invalidated_during_the_negotiation_ends_it_cleanly(shared: &Shared) {
    // EACCES once the garbage collector has removed it from the session keyring.
    ends_cleanly(shared, Disposal::Invalidate, &[Errno::ENOKEY, Errno::EACCES]);
}

fn a_key_that_expires_during_the_negotiation_ends_it_cleanly(shared: &Shared) {
    ends_cleanly(shared, Disposal::Expire(1), &[Errno::EKEYEXPIRED]);
}

/// The monitor has its own link to the key, which ends with the monitor.
fn a_key_that_its_requester_unlinks_is_finished_and_gone(shared: &Shared) {
    line_after(shared, Disposal::Unlink, &[Errno::EACCES], &["established"]);
}

fn a_failure_that_nobody_waits_for_is_told_in_the_log(shared: &Shared) {
    let site = Site::with(shared.realm(), &Settings { round: "2s", ..Default::default() });
    site.ticket(shared.realm());
    let server = Server::silent();
    dispose(&site, shared, &server, Disposal::Revoke);
    site.log.wait_for_words(&["ETIMEDOUT", "the key could not be updated", Cause::ServerSilent.remedy()]);
    site.wait_until_idle();
}
