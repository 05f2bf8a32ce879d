//! Owners whose quota of key bytes is used up: an error at once, nothing left behind.

use crate::support::outcome::Outcome;
use crate::support::probe::{Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::event::Cause;
use nix::errno::Errno;

crate::trials![
    with_a_full_quota_the_request_fails_with_edquot,
    with_60_bytes_free_after_the_key_itself_the_request_fails_at_once,
    a_quota_that_suffices_for_the_request_only_fails_the_negotiation_with_edquot,
    a_quota_that_suffices_for_all_does,
];

/// A site whose user has a ticket.
fn ready(shared: &Shared) -> Site {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    site
}

/// What the key itself costs: its description with the final NUL.
fn cost(site: &Site, shared: &Shared) -> u32 {
    site.request(shared.nfs()).description.len() as u32 + 1
}

fn ask_with_left(site: &Site, shared: &Shared, leave: u32) -> Outcome {
    let mut steps = as_user(site.uid());
    steps.push(Step::FillQuota { leave });
    site.ask_after(steps, site.request(shared.nfs()))
}

fn with_a_full_quota_the_request_fails_with_edquot(shared: &Shared) {
    let site = ready(shared);
    for leave in [0, cost(&site, shared) - 1] {
        match ask_with_left(&site, shared, leave) {
            Outcome::Refused(Errno::EDQUOT) => {}
            other => panic!("{leave} bytes left: {other:?}"),
        }
    }
    assert!(site.log.lines().is_empty(), "the kernel itself refuses");
}

fn with_60_bytes_free_after_the_key_itself_the_request_fails_at_once(shared: &Shared) {
    let site = ready(shared);
    // However few bytes are left, the requester is answered, and never with a context that could not be stored.
    for left in [0, 4, 8, 11, 12, 15, 16, 30, 60] {
        let outcome = ask_with_left(&site, shared, cost(&site, shared) + left);
        assert_eq!(outcome.errno(), Errno::EDQUOT, "{left} bytes left; log {:#?}", site.log.lines());
    }
    site.wait_until_idle();
}

/// The established payload is larger than the provisional one by its handle and key.
fn a_quota_that_suffices_for_the_request_only_fails_the_negotiation_with_edquot(shared: &Shared) {
    let site = ready(shared);
    let outcomes: Vec<_> =
        (60..=100).step_by(8).map(|left| ask_with_left(&site, shared, cost(&site, shared) + left)).collect();
    assert!(outcomes.iter().all(|outcome| outcome.errno() == Errno::EDQUOT), "{outcomes:?}");
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed { .. })), "{outcomes:?}");
    site.log.wait_for_words(&["publish", "EDQUOT", Cause::Quota.remedy()]);
    site.wait_until_idle();
}

fn a_quota_that_suffices_for_all_does(shared: &Shared) {
    let site = ready(shared);
    let outcome = ask_with_left(&site, shared, cost(&site, shared) + 400);
    call_null_with(&outcome.context(), shared.nfs());
}
