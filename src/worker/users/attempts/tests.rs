use super::*;
use crate::event::Stage;
use crate::worker::users::tests::candidate;

/// A refusal of the user `alice` in realm A, by tickets that reach `reach`.
struct Refused {
    cause: Cause,
    of_ticket: bool,
    reach: TicketReach,
    times: usize,
}

/// The next candidate.
struct Next {
    client: &'static str,
    realm: &'static str,
    reach: TicketReach,
    ready: bool,
}

const ALICE_REFUSED: Refused =
    Refused { cause: Cause::KdcDown, of_ticket: false, reach: TicketReach::Target, times: 1 };
const ALICE: Next = Next { client: "alice", realm: "A", reach: TicketReach::Target, ready: false };
const BOB: Next = Next { client: "bob", ..ALICE };

fn hopeless(next: &Next, refused: &Refused) -> bool {
    let of = |client: &str, realm: &str, reach, ready| {
        let mut candidate = candidate("FILE:/x", client);
        candidate.client.realm = realm.into();
        (candidate.worth.reach, candidate.ready) = (reach, ready);
        candidate
    };
    let earlier = of("alice", "A", refused.reach, false);
    let failure =
        || Failure { of_ticket: refused.of_ticket, ..Failure::new(Stage::Kdc, refused.cause, "refused") };
    let refusals: Vec<_> =
        (0..refused.times).map(|_| CandidateRefusal { candidate: &earlier, failure: failure() }).collect();
    is_hopeless(&of(next.client, next.realm, next.reach, next.ready), &refusals)
}

#[test]
fn what_is_about_a_realm_speaks_against_all_of_it_but_tickets_that_are_there() {
    for cause in [
        Cause::KdcDown,
        Cause::KdcSilent,
        Cause::KdcUnresolved,
        Cause::NameServiceSilent,
        Cause::UnknownRealm,
        Cause::ServiceClosed,
        Cause::UnknownService,
        Cause::UnknownHost,
        Cause::ClockSkew,
        Cause::EncryptionType,
    ] {
        let refused = Refused { cause, ..ALICE_REFUSED };
        for (next, expected) in [
            (ALICE, true),
            (BOB, true),
            (Next { ready: true, ..ALICE }, false),
            (Next { ready: true, ..BOB }, false),
            (Next { realm: "B", ..ALICE }, false),
            (Next { reach: TicketReach::OtherRealm, ..BOB }, true),
        ] {
            let Next { client, realm, ready, .. } = next;
            assert_eq!(hopeless(&next, &refused), expected, "{cause:?}: {client}@{realm}, ready: {ready}");
        }
        assert!(!hopeless(&ALICE, &Refused { times: 0, ..refused }), "{cause:?}: nothing was refused");
    }
}

#[test]
fn two_refusals_of_a_client_speak_against_all_its_tickets_but_those_for_the_service_and_no_others() {
    for cause in [
        Cause::KdcRefused,
        Cause::UnknownClient,
        Cause::ClientRevoked,
        Cause::ClientExpired,
        Cause::KdcPolicy,
    ] {
        for (times, next, expected) in [
            (1, ALICE, false),
            (2, ALICE, true),
            (3, ALICE, true),
            (2, Next { ready: true, ..ALICE }, false),
            (3, Next { ready: true, ..ALICE }, false),
            (2, BOB, false),
            (3, BOB, false),
            (2, Next { realm: "B", ..ALICE }, false),
        ] {
            let Next { client, realm, .. } = next;
            let found = hopeless(&next, &Refused { cause, times, ..ALICE_REFUSED });
            assert_eq!(found, expected, "{cause:?}, {times} times: {client}@{realm}");
        }
    }
}

#[test]
fn a_ticket_that_begins_later_says_nothing_about_the_clock_of_those_that_have_begun() {
    use TicketReach::{Later, OtherServices, Postdated, Target};
    for (cause, refused, next, expected) in [
        (Cause::ClockSkew, Later, Target, false),
        (Cause::ClockSkew, Postdated, Target, false),
        (Cause::ClockSkew, Later, OtherServices, false),
        (Cause::ClockSkew, Later, Later, true),
        (Cause::ClockSkew, Later, Postdated, true),
        (Cause::ClockSkew, Target, Target, true),
        (Cause::ClockSkew, Target, Later, true),
        (Cause::KdcDown, Later, Target, true),
    ] {
        let found =
            hopeless(&Next { reach: next, ..BOB }, &Refused { cause, reach: refused, ..ALICE_REFUSED });
        assert_eq!(found, expected, "{cause:?}: {refused:?} refused, {next:?} next");
    }
}

#[test]
fn what_is_about_one_ticket_or_this_machine_speaks_against_no_other() {
    for cause in
        [Cause::TicketExpired, Cause::TicketRejected, Cause::BadCache, Cause::BadKdcAnswer, Cause::Setup]
    {
        for next in [ALICE, BOB] {
            assert!(
                !hopeless(&next, &Refused { cause, times: 3, ..ALICE_REFUSED }),
                "{cause:?}: {}",
                next.client
            );
        }
    }
}

/// A cache's clock difference and its session key concern the others no more than a ticket that the KDC cannot read.
#[test]
fn what_is_due_to_a_ticket_speaks_against_no_other_of_the_realm() {
    for cause in [Cause::ClockSkew, Cause::EncryptionType] {
        for (of_ticket, next, expected) in [
            (false, ALICE, true),
            (false, BOB, true),
            (true, ALICE, false),
            (true, BOB, false),
            (true, Next { reach: TicketReach::OtherRealm, ..BOB }, false),
        ] {
            let refused = Refused { cause, of_ticket, times: 3, ..ALICE_REFUSED };
            let Next { client, .. } = next;
            assert_eq!(hopeless(&next, &refused), expected, "{cause:?}: {client}, of ticket: {of_ticket}");
        }
    }
}

/// The order in which caches are tried if each is refused so. A cache is named by its client; one in capitals has a ticket for
/// the service.
fn order(clients: &[&str], failure: &Failure) -> String {
    let of = |(place, client): (usize, &&str)| {
        let mut candidate = candidate(&format!("{client}{place}"), &client.to_lowercase());
        candidate.ready = client.chars().all(char::is_uppercase);
        candidate
    };
    let usable: Vec<_> = clients.iter().enumerate().map(of).collect();
    let mut refusals = Vec::new();
    while let Some(candidate) = next(&usable, &refusals) {
        refusals.push(CandidateRefusal { candidate, failure: failure.clone() });
    }
    let tried: Vec<_> = refusals.iter().map(|refusal| refusal.candidate.name.display.as_str()).collect();
    tried.join(" ")
}

#[test]
fn a_cache_that_is_refused_hides_no_other_within_the_limit_and_no_ticket_for_the_service() {
    let of = |cause| Failure::new(Stage::Kdc, cause, "refused");
    let of_ticket = |cause| Failure { of_ticket: true, ..of(cause) };
    for (failure, clients, expected) in [
        (of(Cause::ClockSkew), &["a", "a", "B"][..], "a0 B2"),
        (of_ticket(Cause::ClockSkew), &["a", "a"], "a0 a1"),
        (of_ticket(Cause::EncryptionType), &["a", "b"], "a0 b1"),
        (of(Cause::KdcDown), &["a", "b", "A"], "a0 A2"),
        (of(Cause::KdcRefused), &["a", "a", "a", "A", "b"], "a0 a1 A3 b4"),
        (of(Cause::TicketRejected), &["a", "a", "a"], "a0 a1 a2"),
        (of(Cause::TicketRejected), &["a", "a", "A"], "a0 a1 A2"),
        // Another client's first: the realm's key may have changed since all tickets of this one.
        (of(Cause::TicketRejected), &["a", "a", "a", "a", "b"], "a0 a1 b4 a2"),
        (of(Cause::TicketRejected), &["b", "c", "d", "e", "f", "A", "g"], "b0 c1 d2 e3 A5"),
        (of(Cause::BadCache), &["A", "A", "A", "A", "A", "b"], "A0 A1 A2 A3 A4 b5"),
        (of(Cause::KdcDown), &[], ""),
    ] {
        assert_eq!(order(clients, &failure), expected, "{failure:?}: {clients:?}");
    }
}
