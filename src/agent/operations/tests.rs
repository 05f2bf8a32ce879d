//! Operations over caches in memory, without a process: what fails leaves all as it was, and what has expired goes.

use super::*;
use crate::agent::change::{HeldBefore, Memory, Storage};
use crate::agent::codec::tests::{Sample, named, opaque, pattern, principal};
use crate::agent::expiry::{CACHE_STAYS, TICKET_STAYS};
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

const LIMITS: StoreLimits = StoreLimits { caches: 4, tickets: 8, ticket_size: 4096, memory: 64 * 1024 };
const NOW: u32 = 1_000_000;

/// One client's view of a collection.
struct Bench {
    collections: Collections,
    now: u32,
    scope: ClientScope,
    dropped: Vec<Dropped>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Box::new(Memory))
    }

    fn with(storage: Box<dyn Storage>) -> Self {
        let collections = Collections::new(storage, [7; 8]);
        Self { collections, now: NOW, scope: ClientScope::User, dropped: Vec::new() }
    }

    fn ask(&mut self, opcode: u16, parameters: &[u8]) -> Result<Vec<u8>, Status> {
        let mut desk = Desk {
            collections: &mut self.collections,
            scope: &self.scope,
            limits: &LIMITS,
            uid: 1000,
            now: self.now,
            room: 1 << 20,
            dropped: &mut self.dropped,
        };
        let answer = desk.answer(Opcode(opcode), parameters);
        // What precedes the values is tested with the replies.
        answer.map(|reply| reply.as_slice()[12..].to_vec()).map_err(|refusal| refusal.status())
    }

    #[track_caller]
    fn done(&mut self, opcode: u16, parameters: &[u8]) -> Vec<u8> {
        self.ask(opcode, parameters).unwrap()
    }

    fn make(&mut self, label: &str, tickets: &[(&str, u32)]) {
        self.done(4, &named(label, &principal("alice@A")));
        for (server, end) in tickets {
            self.store(label, server, *end).unwrap();
        }
    }

    fn store(&mut self, label: &str, server: &str, end: u32) -> Result<Vec<u8>, Status> {
        self.ask(6, &named(label, &Sample { end, ..Sample::for_server(server) }.bytes()))
    }

    fn count(&mut self, label: &str) -> usize {
        self.done(9, &named(label, &[])).len() / 16
    }

    fn default(&mut self) -> String {
        let label = self.done(20, &[]);
        String::from_utf8(label).unwrap().trim_end_matches('\0').to_owned()
    }

    fn sweep(&mut self) -> usize {
        let mut dropped = Vec::new();
        sweep(&mut self.collections, Pressure::None, self.now, &mut dropped).unwrap();
        dropped.len()
    }
}

#[test]
fn the_default_cache_is_the_chosen_one_else_the_users_else_the_longest_lived() {
    let mut bench = Bench::new();
    assert_eq!(bench.default(), "1000");
    bench.make("b", &[("krbtgt/A@A", NOW + 100)]);
    bench.make("c", &[("krbtgt/A@A", NOW + 200)]);
    bench.make("a", &[("krbtgt/A@A", NOW - 100)]);
    assert_eq!(bench.default(), "c");
    bench.make("1000", &[]);
    assert_eq!(bench.default(), "1000");
    bench.done(21, &named("b", &[]));
    assert_eq!(bench.default(), "b");
    // No name is the default's.
    assert_eq!(bench.done(9, &named("", &[])), bench.done(9, &named("b", &[])));
    bench.done(5, &named("b", &[]));
    assert_eq!(bench.default(), "1000");
    assert_eq!(bench.ask(21, &named("b", &[])), Err(Status::NoCache));
}

#[test]
fn a_moved_cache_takes_the_place_of_another_with_what_is_in_it() {
    let mut bench = Bench::new();
    bench.make("old", &[("a/b@A", u32::MAX), ("c/d@A", u32::MAX)]);
    bench.make("new", &[("e/f@A", u32::MAX)]);
    bench.done(17, &named("new", b"old\0"));
    assert_eq!((bench.count("old"), bench.ask(8, &named("new", &[]))), (1, Err(Status::NoCache)));
    bench.done(17, &named("old", b"old\0"));
    assert_eq!(bench.count("old"), 1);
    assert_eq!(bench.ask(17, &named("none", b"old\0")), Err(Status::NoCache));
}

#[test]
fn caches_are_listed_and_named() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(18, &[]), Err(Status::NoCache));
    bench.make("a", &[]);
    bench.make("b", &[]);
    let ids = bench.done(18, &[]);
    let labels: Vec<_> = ids.chunks(16).map(|id| bench.done(19, id)).collect();
    assert_eq!(labels, [b"a\0", b"b\0"]);
    bench.done(5, &named("a", &[]));
    assert_eq!(bench.ask(19, &ids[..16]), Err(Status::NoCache));
    let (one, other) = (bench.done(3, &[]), bench.done(3, &[]));
    assert!(one != other && one.starts_with(b"1000:") && one.len() == 14, "{one:?}");
}

#[test]
fn scopes_do_not_see_each_other_and_share_the_limits() {
    let mut bench = Bench::new();
    bench.make("a", &[("x/y@A", u32::MAX)]);
    bench.scope = ClientScope::Session(7);
    assert_eq!(bench.ask(8, &named("a", &[])), Err(Status::NoCache));
    assert_eq!(bench.ask(18, &[]), Err(Status::NoCache));
    for label in ["a", "b", "c"] {
        bench.make(label, &[]);
    }
    assert_eq!(bench.ask(4, &named("d", &principal("alice@A"))), Err(Status::Full));
    bench.done(5, &named("a", &[]));
    bench.scope = ClientScope::User;
    assert_eq!(bench.count("a"), 1);
}

#[test]
fn a_cache_stays_for_a_night_after_its_last_ticket_and_a_ticket_for_an_hour_beside_a_longer_one() {
    let mut bench = Bench::new();
    bench.make("a", &[("krbtgt/A@A", NOW + 10), ("x/y@A", NOW)]);
    bench.make("empty", &[]);
    bench.now = NOW + TICKET_STAYS - 1;
    assert_eq!((bench.sweep(), bench.count("a")), (0, 2));
    bench.now = NOW + TICKET_STAYS;
    assert_eq!((bench.sweep(), bench.count("a")), (0, 1));
    // The last one stays as long as the cache, so that there is something to show.
    bench.now = NOW + CACHE_STAYS - 1;
    assert_eq!((bench.sweep(), bench.count("a")), (0, 1));
    bench.now = NOW + 10 + CACHE_STAYS;
    assert_eq!(bench.sweep(), 2);
    assert_eq!((bench.collections.count(), bench.collections.size()), (0, 0));
}

#[test]
fn a_full_cache_whose_tickets_have_expired_takes_new_ones_and_the_others_go() {
    let mut bench = Bench::new();
    let tickets: Vec<String> = (0..LIMITS.tickets).map(|number| format!("s{number}/x@A")).collect();
    let ending: Vec<(&str, u32)> = tickets.iter().map(|server| (server.as_str(), NOW + 10)).collect();
    bench.make("a", &ending);
    bench.make("other", &ending[..2]);
    bench.now = NOW + 9;
    assert_eq!(bench.store("a", "new/x@A", NOW + 100), Err(Status::Full));
    bench.now = NOW + 10;
    bench.store("a", "new/x@A", NOW + 100).unwrap();
    assert_eq!((bench.count("a"), bench.collections.count()), (1, 1));
    assert_eq!(bench.done(8, &named("a", &[])), principal("alice@A"));
}

/// The KDC's clock is five minutes behind, so that tickets end later here than they say.
#[test]
fn tickets_end_by_the_clock_of_their_kdc() {
    let mut bench = Bench::new();
    bench.make("a", &[("krbtgt/A@A", NOW + 10), ("x/y@A", NOW)]);
    bench.done(23, &named("a", &(-300_i32).to_be_bytes()));
    bench.now = NOW + 300 + TICKET_STAYS - 1;
    assert_eq!((bench.sweep(), bench.count("a")), (0, 2));
    bench.now = NOW + 300 + TICKET_STAYS;
    assert_eq!((bench.sweep(), bench.count("a")), (0, 1));
    bench.now = NOW + 309 + CACHE_STAYS;
    assert_eq!(bench.sweep(), 0);
    bench.now = NOW + 310 + CACHE_STAYS;
    assert_eq!(bench.sweep(), 1);
}

#[test]
fn settings_of_a_cache_outlive_its_tickets_and_do_not_keep_it() {
    let mut bench = Bench::new();
    bench.make("a", &[("krbtgt/A@A", NOW + 10), ("x/y@A", NOW), ("krb5_ccache_conf_data/x@X-CACHECONF:", 0)]);
    bench.now = NOW + TICKET_STAYS;
    assert_eq!((bench.sweep(), bench.count("a")), (0, 2));
    bench.now = NOW + 10 + CACHE_STAYS;
    assert_eq!(bench.sweep(), 1);
}

#[test]
fn what_is_dropped_for_want_of_room_gives_its_room_once() {
    let mut bench = Bench::new();
    let ticket =
        |server: &str, end, size| Sample { end, ticket: vec![1; size], ..Sample::for_server(server) };
    let fill = |bench: &mut Bench, label: &str, count, end| {
        bench.make(label, &[]);
        for number in 0..count {
            bench.ask(6, &named(label, &ticket(&format!("s{number}/x@A"), end, 3000).bytes())).unwrap();
        }
    };
    fill(&mut bench, "full", 7, u32::MAX);
    fill(&mut bench, "more", 5, u32::MAX);
    // Its tickets end, and what takes its place has no room beside the others.
    fill(&mut bench, "over", 6, NOW + 10);
    bench.now = NOW + 20;
    let large: Vec<u8> = (0..8)
        .flat_map(|number| opaque(&ticket(&format!("t{number}/x@A"), u32::MAX, 3600).bytes()))
        .collect();
    let parameters =
        named("over", &[&[0; 4][..], &principal("bob@A"), &[0, 0, 0, 8], large.as_slice()].concat());
    assert_eq!(bench.ask(13002, &parameters), Err(Status::Full));
    assert!(bench.collections.size() <= LIMITS.memory && bench.ask(8, &named("full", &[])).is_ok());
}

#[test]
fn more_credentials_than_a_cache_may_have_are_refused_before_they_are_read() {
    let mut bench = Bench::new();
    let none = opaque(&[0xff; 100]);
    let replacement = |count: u8| {
        let many = none.repeat(count.into());
        named("a", &[&[0; 4][..], &principal("bob@A"), &[0, 0, 0, count], &many].concat())
    };
    assert_eq!(bench.ask(13002, &replacement(9)), Err(Status::Full));
    assert_eq!(bench.ask(13002, &replacement(8)), Err(Status::Malformed));
}

/// Keeps nothing, and fails when it is told to.
#[derive(Clone, Default)]
struct Broken(Rc<RefCell<(bool, Vec<String>)>>);

impl Storage for Broken {
    fn record(&mut self, change: &Change, _: HeldBefore<'_>) -> Result<(), StorageError> {
        let (fails, seen) = &mut *self.0.borrow_mut();
        let name = format!("{change:?}");
        seen.push(name.split([' ', '{']).next().unwrap().to_owned());
        if *fails { Err(StorageError::Kernel(nix::errno::Errno::EDQUOT)) } else { Ok(()) }
    }

    fn survives(&self) -> bool {
        true
    }
}

#[test]
fn what_cannot_be_stored_is_neither_acknowledged_nor_done() {
    let broken = Broken::default();
    let mut bench = Bench::with(Box::new(broken.clone()));
    bench.make("a", &[("x/y@A", u32::MAX)]);
    bench.make("b", &[]);
    broken.0.borrow_mut().0 = true;
    let sample = Sample::for_server("z/z@A").bytes();
    for (opcode, parameters) in [
        (4, named("a", &principal("bob@A"))),
        (5, named("a", &[])),
        (6, named("a", &sample)),
        (11, named("a", &pattern(0, "x/y@A"))),
        (17, named("a", b"b\0")),
        (21, named("b", &[])),
        (23, named("a", &[0, 0, 0, 9])),
        (13002, named("a", &[&[0; 4][..], &principal("bob@A"), &[0, 0, 0, 1], &opaque(&sample)].concat())),
    ] {
        assert_eq!(bench.ask(opcode, &parameters), Err(Status::Io), "{opcode}");
    }
    assert_eq!((bench.done(8, &named("a", &[])), bench.count("a")), (principal("alice@A"), 1));
    assert_eq!((bench.done(22, &named("a", &[])), bench.count("b")), (vec![0; 4], 0));
    let seen = broken.0.borrow().1.join(" ");
    assert_eq!(
        seen,
        "PutCache PutCredential PutCache PutCache RemoveCache PutCredential RemoveCredentials MoveCache SetDefault \
         SetOffset PutCache"
    );
}

/// An operation with parameters that may make sense.
fn plausible() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let label = prop::sample::select(vec!["", "a", "b", "c", "d", "e"]);
    let server = prop::sample::select(vec!["x/y@A", "z/y@A", "krbtgt/A@A"]);
    let opcode =
        prop::sample::select(vec![0, 3, 4, 5, 6, 6, 6, 7, 8, 9, 11, 17, 18, 20, 21, 22, 23, 13001, 13002]);
    (opcode, label, server, 0..4_u32, 0..2000_usize).prop_map(|(opcode, label, server, days, size)| {
        let end = NOW + days * 10_000;
        let sample = Sample { end, ticket: vec![1; size], ..Sample::for_server(server) }.bytes();
        let rest = match opcode {
            4 => principal("alice@A"),
            6 => sample,
            7 | 11 => pattern(0, server),
            17 => b"b\0".to_vec(),
            23 => vec![0; 4],
            13002 => {
                let many = [opaque(&sample), opaque(&sample)].concat();
                [&[0; 4][..], &principal("bob@A"), &[0, 0, 0, 2], &many].concat()
            }
            _ => Vec::new(),
        };
        (opcode, if matches!(opcode, 0 | 3 | 18 | 20) { Vec::new() } else { named(label, &rest) })
    })
}

proptest! {
    #[test]
    fn whatever_is_asked_limits_hold_and_sizes_are_sums(
        requests in prop::collection::vec((plausible(), 0..20_000_u32), 1..60)
    ) {
        let mut bench = Bench::new();
        for ((opcode, parameters), later) in requests {
            let _ = bench.ask(opcode, &parameters);
            bench.now += later;
            bench.sweep();
            prop_assert!(bench.collections.count() <= LIMITS.caches);
            // The sum is checked where it is returned.
            prop_assert!(bench.collections.size() <= LIMITS.memory);
            for (_, _, cache) in bench.collections.all() {
                prop_assert!(cache.credentials().len() <= LIMITS.tickets);
                let identities: std::collections::BTreeSet<_> =
                    cache.credentials().map(|(_, credential)| *credential.identity()).collect();
                prop_assert_eq!(identities.len(), cache.credentials().len());
            }
        }
    }

    #[test]
    fn no_parameters_lead_to_a_panic(opcode in 0..30_u16, parameters: Vec<u8>) {
        let mut bench = Bench::new();
        bench.make("a", &[("x/y@A", u32::MAX)]);
        for opcode in [opcode, 13001, 13002] {
            let _ = bench.ask(opcode, &parameters);
            let _ = bench.ask(opcode, &named("a", &parameters));
        }
    }
}
