use super::*;
use crate::creds::choice::WishedBy;
use crate::gss::listing::TicketInfo;
use crate::gss::principal::Name;

const NOW: u64 = 100_000;

fn name(text: &str) -> Name {
    let (components, realm) = text.split_once('@').unwrap();
    Name { realm: realm.to_owned(), components: components.split('/').map(str::to_owned).collect() }
}

fn ticket(server: &str, end: u32) -> TicketInfo {
    TicketInfo {
        server: name(server),
        authenticated: 50_000,
        start: 50_000,
        end,
        renewable_until: 0,
        invalid: false,
    }
}

fn cache(display: &str, client: &str, standing: Standing, tickets: Vec<TicketInfo>) -> Contents {
    let name_of = CacheNames { library: "FILE:/proc/self/fd/4".into(), display: display.into() };
    Contents { name: name_of, client: name(client), tickets, standing }
}

fn survey(caches: Vec<Contents>) -> Survey {
    Survey {
        caches,
        objections: Vec::new(),
        client_keytab: None,
        identities: None,
        patience: Patience::within(Duration::from_secs(1)),
        grace: Grace::default(),
        budget: FileBudget::default(),
    }
}

fn granting(display: &str, end: u32) -> Contents {
    cache(display, "alice@A", Standing::Found, vec![ticket("krbtgt/A@A", end)])
}

fn numbers(caches: Vec<Contents>) -> Vec<u64> {
    survey(caches).fingerprints(8)
}

#[test]
fn a_cache_has_another_number_when_its_owner_has_a_new_ticket_and_not_by_what_a_kdc_adds() {
    let before = numbers(vec![granting("FILE:/a", 200_000)]);
    assert_eq!(before.len(), 1);
    assert_ne!(before, numbers(vec![granting("FILE:/a", 200_001)]), "renewed");
    assert_ne!(before, numbers(vec![granting("FILE:/b", 200_000)]), "another cache");
    let mut wished = granting("FILE:/a", 200_000);
    wished.standing = Standing::Wished;
    assert_ne!(before, numbers(vec![wished]), "it counts otherwise");
    let mut used = granting("FILE:/a", 200_000);
    used.tickets.push(ticket("nfs/srv@A", 200_000));
    used.tickets.push(ticket("krbtgt/B@A", 200_000));
    assert_eq!(before, numbers(vec![used]), "by its own ticket");
    let mut anew = granting("FILE:/a", 200_000);
    anew.tickets.push(TicketInfo { authenticated: 60_000, ..ticket("nfs/srv@A", 200_000) });
    assert_ne!(before, numbers(vec![anew]), "authenticated anew");
}

#[test]
fn the_last_number_stands_for_all_that_are_left() {
    let caches = |last: u32| {
        let names = ["FILE:/a", "FILE:/b", "FILE:/c", "FILE:/d"];
        names.iter().zip([1, 2, 3, last]).map(|(name, end)| granting(name, 200_000 + end)).collect()
    };
    let of = |last, limit| survey(caches(last)).fingerprints(limit);
    assert_eq!((of(4, 4).len(), of(4, 2).len()), (4, 2));
    assert_ne!(of(4, 2), of(5, 2), "none is left out of account");
    assert_eq!(of(4, 1).len(), 1);
}

#[test]
fn the_longest_life_comes_first_and_what_has_ended_is_an_objection() {
    let ranking = survey(vec![
        granting("FILE:/short", 110_000),
        granting("FILE:/over", 99_999),
        granting("FILE:/long", 120_000),
        cache("FILE:/empty", "bob@A", Standing::Found, Vec::new()),
    ])
    .rank(None, NOW);
    let usable: Vec<_> = ranking.usable.iter().map(|candidate| candidate.name.display.as_str()).collect();
    assert_eq!(usable, ["FILE:/long", "FILE:/short"]);
    let against: Vec<_> = ranking.objections.iter().map(|o| (o.text.as_str(), o.cause)).collect();
    assert_eq!(
        against,
        [
            ("FILE:/over: ticket expired 1 s ago", Some(Cause::TicketExpired)),
            ("FILE:/empty: no ticket", Some(Cause::NoTicket)),
        ]
    );
    assert!(ranking.wanted.is_none());
}

#[test]
fn a_ticket_for_the_service_itself_makes_a_cache_ready() {
    let service = name("nfs/srv@A");
    let mut ready = granting("FILE:/a", 110_000);
    ready.tickets.push(ticket("nfs/srv@A", 105_000));
    let ranking = survey(vec![ready, granting("FILE:/b", 104_000)]).rank(Some(&service), NOW);
    let ready: Vec<_> = ranking.usable.iter().map(|candidate| candidate.ready).collect();
    assert_eq!(ready, [true, false]);
}

#[test]
fn only_what_has_not_ended_is_live() {
    assert!(survey(vec![granting("FILE:/a", 99_000), granting("FILE:/b", 100_001)]).has_live(NOW));
    assert!(!survey(vec![granting("FILE:/a", 100_000)]).has_live(NOW));
    assert!(!survey(Vec::new()).has_live(NOW));
}

#[test]
fn another_principal_than_the_one_that_was_wanted_is_said_with_the_reason() {
    let over = cache("FILE:/w", "bob@A", Standing::Wished, vec![ticket("krbtgt/A@A", 99_940)]);
    let ranking = survey(vec![granting("FILE:/a", 110_000), over]).rank(None, NOW);
    let (wanted, first) = (ranking.wanted.as_ref().unwrap(), ranking.usable.first());
    let why = "bob@A in FILE:/w, which KRB5CCNAME names: ticket expired 60 s ago";
    assert_eq!(wanted.instead(first, |_| None).as_deref(), Some(why));
    let refused = |cache: &str| (cache == "FILE:/w").then_some("refused by the KDC");
    let why = "bob@A in FILE:/w, which KRB5CCNAME names: refused by the KDC";
    assert_eq!(wanted.instead(first, refused).as_deref(), Some(why));
    let mut of_bob = first.unwrap().clone();
    of_bob.client = name("bob@A");
    assert_eq!(wanted.instead(Some(&of_bob), refused), None, "the same principal from another cache");
}

#[test]
fn a_wish_comes_before_a_longer_life() {
    let wished = cache("FILE:/w", "bob@A", Standing::Wished, vec![ticket("krbtgt/A@A", 101_000)]);
    let ranking = survey(vec![granting("FILE:/a", 110_000), wished]).rank(None, NOW);
    let first = ranking.usable.first().unwrap();
    assert_eq!((first.name.display.as_str(), first.by), ("FILE:/w", Some(WishedBy::Environment)));
}

fn objection(text: &str, cause: Option<Cause>) -> Objection {
    let place = text.split(": ").next().unwrap().to_owned();
    Objection { place, text: text.to_owned(), cause, notable: false, standing: Standing::Found }
}

#[test]
fn a_failure_is_about_the_first_that_is_more_than_absent_and_lists_what_is_the_users_own() {
    let ranking = |objections| Ranking { usable: Vec::new(), objections, wanted: None };
    let failure = ranking(vec![
        objection("FILE:/none: there is no such cache", Some(Cause::NoTicket)),
        objection("FILE:/root: belongs to somebody else", None),
        objection("FILE:/old: ticket expired 3 h ago", Some(Cause::TicketExpired)),
    ])
    .failure();
    assert_eq!(failure.cause, Cause::TicketExpired);
    assert_eq!(failure.detail, "FILE:/old: ticket expired 3 h ago; FILE:/none: there is no such cache");
    let nothing = ranking(vec![objection("FILE:/root: belongs to somebody else", None)]).failure();
    assert_eq!((nothing.cause, nothing.detail.as_str()), (Cause::NoTicket, "there is no credential cache"));
}

#[test]
fn what_has_no_room_in_a_list_is_counted() {
    let long = "x".repeat(200);
    let others = [long.as_str(), long.as_str(), "short"];
    let text = listed("first".to_owned(), others.into_iter());
    assert_eq!(text, format!("first; {long}; {long}; short"));
    let others = [long.as_str(), long.as_str(), long.as_str(), "short"];
    let text = listed("first".to_owned(), others.into_iter());
    assert_eq!(text, format!("first; {long}; {long}; and 2 more"), "in their order, none is preferred");
}

#[test]
fn a_reason_is_told_without_the_name_before_it() {
    for (text, reason) in [
        ("FILE:/a: ticket expired", "ticket expired"),
        ("FILE:/a is too large", "is too large"),
        ("no name", "no name"),
        ("FILE:/a", "FILE:/a"),
    ] {
        let mut objection = objection(text, None);
        objection.place = "FILE:/a".to_owned();
        assert_eq!(objection.reason(), reason);
    }
    let mut quoted = objection("\"FILE:/a b\": no ticket", None);
    quoted.place = "FILE:/a b".to_owned();
    assert_eq!(quoted.reason(), "no ticket");
}
