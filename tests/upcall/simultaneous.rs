//! Requests for one key at the same time: in one session there is one context, in two sessions there are two.

use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user, probe};
use crate::support::rpc::call_null_with;
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::Site;
use std::collections::BTreeSet;

crate::trials![
    requesters_of_one_session_wait_for_one_upcall_and_get_the_same_key,
    requesters_of_two_sessions_get_a_key_and_a_context_each,
];

fn requesters_of_one_session_wait_for_one_upcall_and_get_the_same_key(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let server = Server::between(shared.nfs().address(), |_| {});
    let request = site.request(&shared.nfs().behind(&server));
    let mut steps = as_user(site.uid());
    steps.extend([Step::RequestAtOnce { request, threads: 6 }, Step::Settle { within_ms: 10_000 }]);
    let findings = probe(&steps);
    let [.., Finding::RequestedAtOnce { serials }, Finding::Settled { payload: Some(_), .. }] =
        findings.as_slice()
    else {
        panic!("{findings:?}")
    };
    assert!(serials[0] > 0 && serials.iter().all(|serial| *serial == serials[0]), "{serials:?}");
    site.wait_until_idle();
    let line = site.log.wait_for_words(&["established"]);
    assert!(line.contains(&format!("key {:08x} ", serials[0])), "{line}");
    assert_eq!(site.log.lines().len(), 1, "one upcall: {:#?}", site.log.lines());
    assert_eq!(server.connections(), 1, "one negotiation");
}

fn requesters_of_two_sessions_get_a_key_and_a_context_each(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let server = Server::between(shared.nfs().address(), |_| {});
    let mut steps = as_user(site.uid());
    steps.extend([
        Step::Pause,
        Step::Request(site.request(&shared.nfs().behind(&server))),
        Step::Settle { within_ms: 10_000 },
    ]);
    let mut requesters = [Probe::start(&steps), Probe::start(&steps)];
    for requester in &mut requesters {
        requester.until_pause();
    }
    requesters.iter_mut().for_each(Probe::go_on);
    let outcomes = requesters.each_mut().map(|requester| requester.rest());
    let serials: BTreeSet<_> = outcomes.iter().map(|findings| serial(&findings[1])).collect();
    assert_eq!(serials.len(), 2, "{serials:?}");
    let contexts = outcomes.map(|findings| Outcome::of(&findings[1..]).context());
    assert_ne!(contexts[0].handle.as_bytes(), contexts[1].handle.as_bytes());
    for context in contexts {
        call_null_with(&context, shared.nfs());
    }
    site.wait_until_idle();
    let lines = site.log.wait_for_count(2);
    for serial in serials {
        let of_key = lines.iter().filter(|line| line.contains(&format!("key {serial:08x} ")));
        assert_eq!(of_key.count(), 1, "{lines:#?}");
    }
    assert_eq!((lines.len(), server.connections()), (2, 2), "two upcalls, two negotiations");
}

#[track_caller]
fn serial(finding: &Finding) -> i32 {
    match finding {
        Finding::Requested { serial: Some(serial), .. } => *serial,
        other => panic!("no key: {other:?}"),
    }
}
