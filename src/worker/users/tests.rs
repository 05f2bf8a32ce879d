use super::*;
use crate::creds::ranking::Worth;
use crate::creds::survey::Objection;
use crate::gss::principal::Name;

pub(super) fn candidate(display: &str, client: &str) -> Candidate {
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

#[test]
fn of_no_credentials_there_is_nothing_to_report() {
    assert_eq!(considered(None, &ranking(&[], Vec::new()), &[]), Considered::default());
}
