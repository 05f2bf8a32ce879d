//! Owners whose quota of key bytes is used up: they get an error at once, and nothing is left.

use crate::support::outcome::Outcome;
use crate::support::probe::{Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;

crate::trials![
    with_a_full_quota_the_request_fails_with_edquot,
    with_60_bytes_free_after_the_key_itself_the_request_fails_at_once,
    a_quota_that_suffices_for_the_request_only_fails_the_negotiation_with_edquot,
    a_quota_that_suffices_for_all_does,
];

/// Asks with so many bytes left beyond the key's own cost. Each call has a new user, since the keys of an ended session
/// count until they are collected.
fn ask_with_left(shared: &Shared, beyond: i32) -> (Site, Outcome) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    // The description counts with its final NUL.
    let cost = i32::try_from(site.request(shared.nfs()).description.len()).unwrap() + 1;
    let mut steps = as_user(site.uid());
    steps.push(Step::FillQuota { leave: u32::try_from(cost + beyond).unwrap() });
    let outcome = site.ask_after(steps, site.request(shared.nfs()));
    (site, outcome)
}

fn with_a_full_quota_the_request_fails_with_edquot(shared: &Shared) {
    for beyond in [-40, -1] {
        let (site, outcome) = ask_with_left(shared, beyond);
        assert!(matches!(outcome, Outcome::Refused(Errno::EDQUOT)), "{beyond}: {outcome:?}");
        assert!(site.log.lines().is_empty(), "the kernel itself refuses");
    }
}

/// However few bytes are left, the requester gets an answer, and never a context that could not be stored.
fn with_60_bytes_free_after_the_key_itself_the_request_fails_at_once(shared: &Shared) {
    for beyond in [0, 4, 11, 12, 15, 16, 30, 60] {
        let (site, outcome) = ask_with_left(shared, beyond);
        assert_eq!(outcome.errno(), Errno::EDQUOT, "{beyond} bytes left; log {:#?}", site.log.lines());
        site.wait_until_idle();
    }
}

/// An established payload is larger than the provisional one by its handle and key.
fn a_quota_that_suffices_for_the_request_only_fails_the_negotiation_with_edquot(shared: &Shared) {
    let mut negotiated = 0;
    for beyond in (60..=100).step_by(10) {
        let (site, outcome) = ask_with_left(shared, beyond);
        assert_eq!(outcome.errno(), Errno::EDQUOT, "{beyond} bytes left; log {:#?}", site.log.lines());
        if matches!(outcome, Outcome::Failed { .. }) {
            site.log.wait_for_words(&["publish", "EDQUOT", Cause::Quota.remedy()]);
            negotiated += 1;
        }
        site.wait_until_idle();
    }
    assert!(negotiated > 0, "no quota was enough for the negotiation to begin");
}

fn a_quota_that_suffices_for_all_does(shared: &Shared) {
    let (_site, outcome) = ask_with_left(shared, 400);
    call_null_with(&outcome.context(), shared.nfs());
}
