//! Limits of `lgss_agent`: what is too much is refused in words, what has expired makes room, and size costs in proportion.

use crate::support::agent::{
    DONE, DoorAgent, END, FULL, KcmClient, NO_CACHE, NOT_FOUND, UNSUPPORTED, credential, named, principal,
};
use crate::support::kcm::Kcm;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::writers::Writer;
use std::time::Duration;

crate::trials![
    too_many_caches_are_refused_with_a_setting_in_the_log,
    too_many_or_too_large_tickets_are_refused_with_a_setting_in_the_log,
    all_caches_together_have_a_limit_of_memory,
    what_has_expired_makes_room,
    a_ticket_takes_the_place_of_the_one_before,
    a_whole_cache_is_replaced_or_stays_as_it_was,
    a_list_over_ten_mib_is_read_one_by_one,
    a_thousand_tickets_take_one_request_and_ten_times_as_long_as_a_hundred,
    kinit_says_that_there_is_no_room,
];

fn agent(shared: &Shared, settings: &str) -> (Site, DoorAgent) {
    let site = Site::new(shared.realm());
    site.add_settings(&format!("[agent]\n{settings}"));
    let agent = DoorAgent::start(&site);
    (site, agent)
}

fn initialize(client: &mut KcmClient, label: &str) -> i32 {
    client.call(4, &named(label, &principal("alice"))).0
}

fn store(client: &mut KcmClient, label: &str, number: usize, end: u32) -> i32 {
    client.call(6, &named(label, &credential(&format!("svc/h{number}"), 100, end))).0
}

/// How many credentials a cache has.
#[track_caller]
fn count(client: &mut KcmClient, label: &str) -> usize {
    client.done(9, &named(label, &[])).len() / 16
}

fn too_many_caches_are_refused_with_a_setting_in_the_log(shared: &Shared) {
    let (site, agent) = agent(shared, "max_caches = 2\n");
    let mut client = agent.connect();
    assert_eq!([initialize(&mut client, "a"), initialize(&mut client, "b")], [DONE, DONE]);
    assert_eq!(initialize(&mut client, "c"), FULL);
    site.log.wait_for_words(&["lgss_agent", "KCM:c is not made", "2 caches", "agent.max_caches"]);
    // One that is there can be emptied, and one that is gone makes room.
    assert_eq!(initialize(&mut client, "b"), DONE);
    client.done(5, &named("a", &[]));
    assert_eq!(initialize(&mut client, "c"), DONE);
}

fn too_many_or_too_large_tickets_are_refused_with_a_setting_in_the_log(shared: &Shared) {
    let (site, agent) = agent(shared, "max_tickets = 3\nmax_ticket_size = 16\n");
    let mut client = agent.connect();
    initialize(&mut client, "a");
    let stored: Vec<i32> = (0..4).map(|number| store(&mut client, "a", number, u32::MAX)).collect();
    assert_eq!(stored, [DONE, DONE, DONE, FULL]);
    site.log.wait_for_words(&["KCM:a takes no more tickets", "it has 3", "agent.max_tickets"]);
    // A newer one of the same takes no room.
    assert_eq!(store(&mut client, "a", 1, 7), DONE);
    assert_eq!(client.call(6, &named("a", &credential("svc/h1", 17 * 1024, 7))).0, FULL);
    site.log.wait_for_words(&["KCM:a does not take a ticket of 17", "agent.max_ticket_size"]);
    let four: Vec<_> = (0..4).map(|number| credential(&format!("svc/h{number}"), 9, u32::MAX)).collect();
    assert_eq!(client.call(13002, &replacement("a", &four)).0, FULL);
    assert_eq!(count(&mut client, "a"), 3);
}

fn all_caches_together_have_a_limit_of_memory(shared: &Shared) {
    let (site, agent) = agent(shared, "max_memory = 1\n");
    let mut client = agent.connect();
    initialize(&mut client, "a");
    initialize(&mut client, "b");
    let mut large = |label: &str, number: usize| {
        client.call(6, &named(label, &credential(&format!("svc/h{number}"), 200 * 1024, u32::MAX))).0
    };
    let stored: Vec<i32> =
        (0..6).map(|number| large(if number % 2 == 0 { "a" } else { "b" }, number)).collect();
    assert_eq!(stored, [DONE, DONE, DONE, DONE, DONE, FULL]);
    site.log.wait_for_words(&["KCM:b takes no more tickets", "agent.max_memory"]);
    assert_eq!(large("a", 0), DONE);
}

fn what_has_expired_makes_room(shared: &Shared) {
    let (site, agent) = agent(shared, "max_caches = 2\nmax_tickets = 3\n");
    let mut client = agent.connect();
    for label in ["old", "new"] {
        initialize(&mut client, label);
    }
    store(&mut client, "old", 0, 1000);
    for (number, end) in [(0, 1000), (1, 1001), (2, u32::MAX)] {
        assert_eq!(store(&mut client, "new", number, end), DONE);
    }
    assert_eq!(store(&mut client, "new", 3, u32::MAX), DONE);
    assert_eq!(count(&mut client, "new"), 2);
    site.log.wait_for_words(&["KCM:old of alice@T is dropped: its tickets have expired"]);
    assert_eq!(client.call(8, &named("old", &[])).0, NO_CACHE);
    assert_eq!(initialize(&mut client, "third"), DONE);
}

fn a_ticket_takes_the_place_of_the_one_before(shared: &Shared) {
    let (_site, agent) = agent(shared, "");
    let mut client = agent.connect();
    initialize(&mut client, "a");
    for end in [1000, 2000, 3000] {
        assert_eq!(store(&mut client, "a", 0, end), DONE);
    }
    let listed = client.done(13001, &named("a", &[]));
    assert!(listed.ends_with(&credential("svc/h0", 100, 3000)));
    assert_eq!(listed[..4], 1u32.to_be_bytes());
    // By its server it is found and removed.
    let pattern = [&[0, 0, 0, 0, 0, 0, 0, 2][..], &principal("svc/h0"), &[0; 21]].concat();
    assert_eq!(client.done(7, &named("a", &pattern)), credential("svc/h0", 100, 3000));
    assert_eq!(client.call(11, &named("a", &pattern)).0, DONE);
    assert_eq!(client.call(11, &named("a", &pattern)).0, NOT_FOUND);
    assert_eq!(client.call(7, &named("a", &pattern)).0, END);
}

/// Parameters of the operation that puts a whole cache.
fn replacement(label: &str, credentials: &[Vec<u8>]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let mut rest = [&7u32.to_be_bytes()[..], &principal("bob"), &number(credentials.len())].concat();
    for credential in credentials {
        rest.extend(number(credential.len()));
        rest.extend(credential);
    }
    named(label, &rest)
}

fn a_whole_cache_is_replaced_or_stays_as_it_was(shared: &Shared) {
    let (_site, agent) = agent(shared, "");
    let mut client = agent.connect();
    initialize(&mut client, "a");
    store(&mut client, "a", 9, u32::MAX);
    let good = [credential("svc/h0", 10, 7), credential("svc/h1", 10, 7)];
    let bad = [good[0].clone(), b"no credential".to_vec()];
    assert_ne!(client.call(13002, &replacement("a", &bad)).0, DONE);
    assert_eq!((client.done(8, &named("a", &[])), count(&mut client, "a")), (principal("alice"), 1));
    client.done(13002, &replacement("a", &good));
    assert_eq!((client.done(8, &named("a", &[])), count(&mut client, "a")), (principal("bob"), 2));
    assert_eq!(client.done(22, &named("a", &[])), 7u32.to_be_bytes());
    client.done(13002, &replacement("b", &[]));
    assert_eq!(count(&mut client, "b"), 0);
}

fn a_list_over_ten_mib_is_read_one_by_one(shared: &Shared) {
    let (_site, agent) = agent(shared, "");
    let mut client = agent.connect();
    initialize(&mut client, "a");
    for number in 0..60 {
        let large = credential(&format!("svc/h{number}"), 180 * 1024, u32::MAX);
        client.done(6, &named("a", &large));
    }
    assert_eq!(client.call(13001, &named("a", &[])).0, UNSUPPORTED);
    let ids = client.done(9, &named("a", &[]));
    for (number, id) in ids.chunks(16).enumerate() {
        let one = client.done(10, &named("a", id));
        assert_eq!(one, credential(&format!("svc/h{number}"), 180 * 1024, u32::MAX));
    }
}

/// If time grew as the square, it would be a hundred times as long; what is fixed makes the ratio smaller.
fn a_thousand_tickets_take_one_request_and_ten_times_as_long_as_a_hundred(shared: &Shared) {
    let (_site, mut agent) = agent(shared, "");
    let mut client = agent.connect();
    for (label, many) in [("few", 100), ("many", 1000)] {
        initialize(&mut client, label);
        for number in 0..many {
            assert_eq!(store(&mut client, label, number, u32::MAX), DONE);
        }
        let listed = client.done(13001, &named(label, &[]));
        assert_eq!(listed[..4], u32::try_from(many).unwrap().to_be_bytes());
    }
    // Of the processor, so that other processes do not count.
    let processor = format!("/proc/{}/schedstat", agent.daemon().pid());
    let used = || {
        let text = std::fs::read_to_string(&processor).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let mut one_by_one = |label: &str| {
        let before = used();
        let ids = client.done(9, &named(label, &[]));
        ids.chunks(16).for_each(|id| drop(client.done(10, &named(label, id))));
        used() - before
    };
    let mut shortest = |label: &str| (0..7).map(|_| one_by_one(label)).min().unwrap();
    let (few, many): (Duration, Duration) = (shortest("few"), shortest("many"));
    assert!(many < few * 40, "{few:?} for 100, {many:?} for 1000");
}

fn kinit_says_that_there_is_no_room(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.add_settings("[agent]\nmax_caches = 1\n");
    let kcm = Kcm::start_agent(&site);
    kcm.run(&site, &Writer::Mit.kinit("KCM:first")).unwrap();
    let refused = kcm.run(&site, &Writer::Mit.kinit("KCM:second")).unwrap_err();
    assert!(refused.contains("No more memory"), "{refused}");
    site.log.wait_for_words(&["KCM:second is not made", "agent.max_caches"]);
}
