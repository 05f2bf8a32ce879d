use super::*;
use crate::creds::ranking::Worth;
use crate::creds::survey::Objection;
use crate::gss::principal::Name;

fn candidate(display: &str, client: &str) -> Candidate {
    // Ten hours and a half, so that a slow test still sees ten.
    let end = u32::try_from(now() + 37_800).unwrap();
    Candidate {
        name: CacheNames { library: "FILE:/proc/self/fd/4".into(), display: display.into() },
        client: Name { realm: "A".into(), components: vec![client.into()] },
        worth: Worth { reach: TicketReach::Target, end, renewable: false, authenticated: 0, start: 0 },
        ready: false,
        by: None,
    }
}

fn ranking(usable: &[Candidate], objections: Vec<Objection>) -> Ranking {
    Ranking { usable: usable.to_vec(), objections, wanted: None }
}

fn refusal<'a>(candidate: &'a Candidate, detail: &str) -> CandidateRefusal<'a> {
    CandidateRefusal { candidate, failure: Failure::new(Stage::Kdc, Cause::KdcRefused, detail) }
}

fn objection(display: &str, why: &str, cause: Option<Cause>) -> Objection {
    let mut objection = candidate(display, "nobody").passed_over(why);
    objection.cause = cause;
    objection
}

#[test]
fn each_other_cache_has_its_worth_or_its_refusal() {
    let caches = [candidate("FILE:/a", "alice"), candidate("FILE:/b", "bob"), candidate("FILE:/c", "carol")];
    let refusals = [refusal(&caches[0], "FILE:/a: revoked")];
    let told = considered(Some(&caches[1]), &ranking(&caches, Vec::new()), &refusals);
    assert_eq!(told.chosen.as_deref(), Some("bob@A in FILE:/b, 10 h left"));
    assert_eq!(told.others, ["FILE:/a: revoked", "FILE:/c: carol@A, 10 h left"]);
    assert_eq!((told.wanted, told.more), (None, 0));
    let told = considered(Some(&caches[1]), &ranking(&caches, Vec::new()), &[refusal(&caches[0], "revoked")]);
    assert_eq!(told.others[0], "FILE:/a: revoked", "the name is set before what lacks it");
}

#[test]
fn what_was_not_tried_is_told_apart_from_what_comes_later() {
    let caches = [candidate("FILE:/a", "alice"), candidate("FILE:/b", "bob"), candidate("FILE:/c", "carol")];
    let refusals = [refusal(&caches[0], "FILE:/a: revoked")];
    let told = considered(Some(&caches[2]), &ranking(&caches, Vec::new()), &refusals);
    assert_eq!(told.others, ["FILE:/a: revoked", "FILE:/b: bob@A, 10 h left, not tried"]);
    let told = considered(None, &ranking(&caches, Vec::new()), &refusals);
    assert_eq!(told.chosen, None);
    assert!(told.others[2].ends_with(", not tried"), "{:?}", told.others);
}

#[test]
fn what_others_have_is_told_last_and_not_on_its_own_unless_it_is_notable() {
    let only = [candidate("FILE:/a", "alice")];
    let foreign = || objection("FILE:/root", "belongs to somebody else", None);
    let told = considered(Some(&only[0]), &ranking(&only, vec![foreign()]), &[]);
    assert!(told.others.is_empty(), "{:?}", told.others);
    let mut notable = foreign();
    notable.notable = true;
    let told = considered(Some(&only[0]), &ranking(&only, vec![notable]), &[]);
    assert_eq!(told.others, ["FILE:/root: belongs to somebody else"]);
    let own = objection("FILE:/old", "ticket expired", Some(Cause::TicketExpired));
    let told = considered(Some(&only[0]), &ranking(&only, vec![foreign(), own]), &[]);
    assert_eq!(told.others, ["FILE:/old: ticket expired", "FILE:/root: belongs to somebody else"]);
}

#[test]
fn beyond_the_limit_others_are_counted_and_a_long_one_is_cut() {
    let many: Vec<_> = (0..CONSIDERED_LIMIT + 3).map(|n| candidate(&format!("FILE:/{n}"), "alice")).collect();
    let told = considered(None, &ranking(&many, Vec::new()), &[]);
    assert_eq!((told.others.len(), told.more), (CONSIDERED_LIMIT, 3));
    let long = [candidate(&format!("FILE:/{}", "x".repeat(2 * WORD_LIMIT)), "alice")];
    let told = considered(Some(&long[0]), &ranking(&long, Vec::new()), &[]);
    assert!(told.chosen.unwrap().len() <= WORD_LIMIT);
}

/// A refusal of the user `alice` in realm A, by tickets that reach `reach`.
struct Refused {
    cause: Cause,
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

const ALICE_REFUSED: Refused = Refused { cause: Cause::KdcDown, reach: TicketReach::Target, times: 1 };
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
    let failure = || Failure::new(Stage::Kdc, refused.cause, "refused");
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
fn two_refusals_of_a_client_speak_against_all_its_tickets_and_no_others() {
    for cause in [
        Cause::KdcRefused,
        Cause::UnknownClient,
        Cause::ClientRevoked,
        Cause::ClientExpired,
        Cause::KdcPolicy,
        Cause::TicketRejected,
    ] {
        for (times, next, expected) in [
            (1, ALICE, false),
            (2, ALICE, true),
            (3, ALICE, true),
            (2, Next { ready: true, ..ALICE }, true),
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
    for cause in [Cause::TicketExpired, Cause::BadCache, Cause::BadKdcAnswer, Cause::Setup] {
        for next in [ALICE, BOB] {
            assert!(
                !hopeless(&next, &Refused { cause, times: 3, ..ALICE_REFUSED }),
                "{cause:?}: {}",
                next.client
            );
        }
    }
}

#[test]
fn of_no_credentials_there_is_nothing_to_report() {
    assert_eq!(considered(None, &ranking(&[], Vec::new()), &[]), Considered::default());
}
