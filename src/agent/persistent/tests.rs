//! The storage on a keyring of the test's own instead of a persistent one: what one agent has stored, the next finds.

use super::keyring::AgentKeyring;
use super::layout::{DEFAULT, HEAD, StoredHead, TicketKey};
use super::restore::{self, KeptOwner, Restored, server_content, take_over};
use super::*;
use crate::agent::cache::HeldCache;
use crate::agent::codec::tests::{Sample, principal};
use crate::agent::codec::{CacheId, CacheLabel, CredentialId, PrincipalBytes, id_of};
use crate::agent::collections::Collections;
use crate::agent::peer::ClientScope;
use crate::key::keys_in;
use crate::time::now_32;
use crate::wire::Reader;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

const TOKEN: [u8; 8] = [1; 8];

fn label(name: &str) -> CacheLabel {
    CacheLabel::new(name.as_bytes())
}

fn owner(token: [u8; 8]) -> KeptOwner {
    KeptOwner { uid: nix::unistd::geteuid().as_raw(), token, memory: 1 << 24 }
}

/// An agent's keyring, as storage of collections that the test changes.
struct Kept(Rc<RefCell<AgentKeyring>>);

impl Storage for Kept {
    fn record(&mut self, change: &Change, _: HeldBefore<'_>) -> Result<(), StorageError> {
        self.0.borrow_mut().change(change).map_err(StorageError::Kernel)
    }

    fn survives(&self) -> bool {
        true
    }
}

/// An agent's caches, in memory and in its keyring.
struct Bench {
    keyring: Rc<RefCell<AgentKeyring>>,
    collections: Collections,
}

/// Everything that a client could see of a cache.
type Shown = (Vec<u8>, u32, Vec<Vec<u8>>);

impl Bench {
    fn new() -> Self {
        let nothing = BTreeMap::new();
        let before = HeldBefore { caches: &nothing, default: None };
        let ring = keyctl::add(c"keyring", c"lgss-test", b"", PROCESS_KEYRING).unwrap();
        let keyring = AgentKeyring::make(ring, &server_content(TOKEN, 0), TicketKey::User, before).unwrap();
        let keyring = Rc::new(RefCell::new(keyring));
        let collections = Collections::new(Box::new(Kept(Rc::clone(&keyring))), TOKEN);
        Self { keyring, collections }
    }

    fn apply(&mut self, change: Change) {
        self.collections.apply(&ClientScope::User, change, now_32()).unwrap();
    }

    fn make(&mut self, name: &str, samples: &[Sample]) {
        self.make_for("alice@A", name, samples);
    }

    fn make_for(&mut self, client: &str, name: &str, samples: &[Sample]) {
        let bytes = principal(client);
        let id = self.collections.new_cache_id();
        let mut cache = HeldCache::new(id, PrincipalBytes::read(&mut Reader::new(&bytes)).unwrap(), 0);
        for sample in samples {
            cache.put(self.collections.new_credential_id(), sample.held(), 0);
        }
        self.apply(Change::PutCache { label: label(name), cache });
    }

    fn store(&mut self, name: &str, sample: &Sample) {
        let credential = sample.held();
        let cache = self.collections.cache(&ClientScope::User, &label(name)).unwrap();
        let replaced = cache.duplicate_of(&credential).into_iter().collect();
        let id = self.collections.new_credential_id();
        self.apply(Change::PutCredential { label: label(name), id, credential, replaced });
    }

    fn ids(&self, name: &str) -> Vec<CredentialId> {
        let cache = self.collections.cache(&ClientScope::User, &label(name)).unwrap();
        cache.credentials().map(|(id, _)| *id).collect()
    }

    fn ring(&self) -> i32 {
        self.keyring.borrow().ring
    }

    fn cache_ring(&self, name: &str) -> i32 {
        self.keyring.borrow().caches[&label(name)].ring
    }

    fn shown(&self) -> (BTreeMap<CacheLabel, Shown>, Option<CacheLabel>) {
        let all = self.collections.all();
        let caches = all.map(|(_, label, cache)| (label.clone(), shown(cache))).collect();
        let default = self.collections.of(&ClientScope::User).and_then(|one| one.chosen_default().cloned());
        (caches, default)
    }

    /// What the next agent finds.
    fn found(&self) -> Restored {
        take_over(self.ring(), owner([2; 8]), TicketKey::User).unwrap()
    }

    #[track_caller]
    fn expect_kept(&self) {
        let found = self.found();
        assert_eq!(seen(&found), self.shown());
        assert_eq!(found.remarks, [""; 0]);
    }
}

fn shown(cache: &HeldCache) -> Shown {
    let credentials = cache.credentials().map(|(_, credential)| credential.bytes().to_vec()).collect();
    (cache.principal().to_vec(), cache.offset(), credentials)
}

fn seen(found: &Restored) -> (BTreeMap<CacheLabel, Shown>, Option<CacheLabel>) {
    let caches = found.kept.caches.iter().map(|(label, cache)| (label.clone(), shown(cache))).collect();
    (caches, found.kept.default.clone())
}

fn service(name: &str) -> Sample {
    Sample::for_server(&format!("{name}/srv@A"))
}

#[test]
fn the_next_agent_finds_each_cache_with_its_credentials_in_their_order() {
    let mut bench = Bench::new();
    bench.make("a", &[service("z"), service("a")]);
    bench.make("b", &[]);
    let setting = Sample { end: 0, ..Sample::for_server("krb5_ccache_conf_data/x@X-CACHECONF:") };
    for sample in [service("m"), setting, service("b")] {
        bench.store("a", &sample);
    }
    bench.apply(Change::SetDefault { label: label("b") });
    bench.apply(Change::SetOffset { label: label("b"), offset: u32::MAX });
    bench.expect_kept();
}

#[test]
fn each_change_is_kept() {
    let mut bench = Bench::new();
    bench.make("a", &[service("x"), service("y"), service("z")]);
    bench.make("b", &[service("x")]);
    bench.apply(Change::SetDefault { label: label("b") });
    bench.store("a", &Sample { ticket: b"newer".to_vec(), ..service("y") });
    bench.expect_kept();
    let ids = bench.ids("a");
    bench.apply(Change::RemoveCredentials { label: label("a"), ids: ids[..2].to_vec() });
    bench.expect_kept();
    let ids = bench.ids("a");
    bench.apply(Change::RemoveCredentials { label: label("a"), ids });
    bench.expect_kept();
    bench.apply(Change::MoveCache { from: label("b"), to: label("a") });
    bench.expect_kept();
    bench.make("a", &[service("new")]);
    bench.apply(Change::SetDefault { label: label("a") });
    bench.expect_kept();
    bench.apply(Change::RemoveCache { label: label("a") });
    bench.expect_kept();
    assert!(bench.shown().0.is_empty());
    // Nothing but the token is left.
    assert_eq!(keyctl::links(bench.ring()).unwrap().len(), 1);
}

#[test]
fn a_credential_larger_than_a_key_is_kept_and_replaced_as_a_whole() {
    let mut bench = Bench::new();
    let large = Sample { ticket: vec![7; 100_000], ..service("x") };
    bench.make("a", std::slice::from_ref(&large));
    bench.expect_kept();
    bench.store("a", &Sample { ticket: vec![8; 70_000], ..large });
    bench.expect_kept();
    let parts = keyctl::links(bench.cache_ring("a")).unwrap().len();
    assert_eq!(parts, 1 + 3, "the head, and three parts of the newer one");
}

#[test]
fn parts_without_the_first_are_removed() {
    let mut bench = Bench::new();
    bench.make("a", &[Sample { ticket: vec![7; 70_000], ..service("x") }]);
    let ring = bench.cache_ring("a");
    let first = bench.keyring.borrow().caches[&label("a")].tickets.values().next().unwrap().keys[0];
    keyctl::unlink(first, ring).unwrap();
    let found = bench.found();
    assert_eq!(found.kept.caches[&label("a")].credentials().len(), 0);
    assert_eq!(keyctl::links(ring).unwrap().len(), 1);
}

#[test]
fn of_what_an_agent_left_half_done_the_next_one_sees_before_or_after() {
    let mut bench = Bench::new();
    bench.make("a", &[service("x"), service("y")]);
    bench.make("b", &[service("z")]);
    let (ring, a, b) = (bench.ring(), bench.cache_ring("a"), bench.cache_ring("b"));
    let before = bench.shown().0;
    // The later of two duplicates, of which the earlier one has not been removed.
    let newer = Sample { ticket: b"newer".to_vec(), ..service("x") };
    keyctl::add(c"user", c"ticket:ff", &newer.bytes(), a).unwrap();
    let found = bench.found();
    let (_, _, credentials) = shown(&found.kept.caches[&label("a")]);
    assert_eq!(credentials, [before[&label("a")].2[1].clone(), newer.bytes()]);
    assert_eq!(keyctl::links(a).unwrap().len(), 3);
    // Two caches of one name: that which was moved, and the one whose place it takes.
    let mut head = bench.keyring.borrow().caches[&label("b")].head.clone();
    (head.label, head.generation) = (label("a"), 99);
    keyctl::add(c"user", HEAD, head.written().as_slice(), b).unwrap();
    // The default was the name that is gone.
    keyctl::add(c"user", DEFAULT, b"b", ring).unwrap();
    let found = bench.found();
    assert_eq!(found.kept.caches.keys().collect::<Vec<_>>(), [&label("a")]);
    assert_eq!(
        (shown(&found.kept.caches[&label("a")]).2, found.kept.default),
        (before[&label("b")].2.clone(), None)
    );
    assert_eq!(keyctl::links(ring).unwrap().len(), 2, "the token and the cache");
}

#[test]
fn what_has_expired_is_dropped_and_a_cache_that_is_being_made_is_not() {
    let mut bench = Bench::new();
    let (now, past) = (now_32(), now_32() - 10);
    bench.make("over", &[Sample { end: past, ..service("x") }]);
    bench.make("new", &[]);
    bench.make("some", &[Sample { end: past, ..service("x") }, Sample { end: now + 1000, ..service("y") }]);
    let found = bench.found();
    let left: Vec<_> =
        found.kept.caches.iter().map(|(label, cache)| (label.clone(), cache.credentials().len())).collect();
    assert_eq!(left, [(label("new"), 0), (label("some"), 1)]);
    assert_eq!(found.remarks, ["KCM:over is dropped: its tickets have expired"]);
    assert_eq!(keyctl::links(bench.ring()).unwrap().len(), 3, "the token and two caches");
}

/// What the kernel leaves each of a cache's tickets, as /proc/keys has it.
fn left(bench: &Bench, name: &str) -> Vec<String> {
    let keys = std::fs::read_to_string("/proc/keys").unwrap();
    let tickets = bench.keyring.borrow().caches[&label(name)]
        .tickets
        .values()
        .map(|one| one.keys[0])
        .collect::<Vec<_>>();
    let of = |key: i32| {
        let line = keys.lines().find(|line| line.starts_with(&format!("{key:08x} "))).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    tickets.into_iter().map(of).collect()
}

#[test]
fn tickets_end_by_the_clock_of_their_kdc() {
    let mut bench = Bench::new();
    bench.make("a", &[Sample { end: now_32() + 300, ..service("x") }]);
    // Its clock is two hours behind.
    bench.apply(Change::SetOffset { label: label("a"), offset: (-7200_i32).cast_unsigned() });
    bench.store("a", &Sample { end: now_32() + 300, ..service("y") });
    assert_eq!(left(&bench, "a"), ["2h", "2h"]);
    bench.expect_kept();
    // A difference that is wrong, and then right again, ends nothing.
    bench.make("b", &[Sample { end: now_32() + 7300, ..service("x") }]);
    bench.apply(Change::SetOffset { label: label("b"), offset: 0x7fff_ffff });
    bench.store("b", &Sample { end: now_32() + 7300, ..service("y") });
    assert_eq!(left(&bench, "b"), ["2h", "2h"]);
    bench.apply(Change::SetOffset { label: label("b"), offset: 0 });
    bench.expect_kept();
    bench.apply(Change::RemoveCache { label: label("b") });
    // An hour before: both have ended.
    bench.apply(Change::SetOffset { label: label("a"), offset: 3600 });
    let found = bench.found();
    assert!(found.kept.caches.is_empty() && found.remarks[0].contains("have expired"), "{:?}", found.remarks);
}

#[test]
fn a_ticket_that_takes_the_place_of_others_than_its_duplicate_counts_instead_of_them_from_one_moment_on() {
    let mut bench = Bench::new();
    let end = now_32() + 1000;
    let old = Sample { key_type: 17, end, ..service("x") };
    let third = Sample { key_type: 18, end, ..service("x") };
    bench.make("a", &[old, third.clone(), Sample { end, ..service("y") }]);
    let before = bench.shown().0;
    let new = Sample { end: end + 1000, ticket: b"newer".to_vec(), ..third };
    let ids = bench.ids("a");
    let id = bench.collections.new_credential_id();
    // What an agent leaves that ends before that moment: the new ticket is there, and does not count.
    let ring = bench.cache_ring("a");
    let head = bench.keyring.borrow().caches[&label("a")].head.clone();
    let noted = |removed| StoredHead { removed, ..head.clone() }.written();
    keyctl::add(c"user", HEAD, noted(vec![0xff]).as_slice(), ring).unwrap();
    keyctl::add(c"user", c"ticket:ff", &new.bytes(), ring).unwrap();
    assert_eq!(seen(&bench.found()).0, before);
    keyctl::add(c"user", HEAD, noted(Vec::new()).as_slice(), ring).unwrap();
    let credential = new.held();
    bench.apply(Change::PutCredential { label: label("a"), id, credential, replaced: ids[..2].to_vec() });
    bench.expect_kept();
    assert_eq!(keyctl::links(ring).unwrap().len(), 3, "the head and two tickets");
}

#[test]
fn damaged_and_foreign_keys_are_passed_over_and_told() {
    let mut bench = Bench::new();
    bench.make("a", &[service("x")]);
    bench.make("damaged", &[service("x")]);
    let ring = bench.ring();
    let a = bench.cache_ring("a");
    let add = |kind, name, content: &[u8], ring| keyctl::add(kind, name, content, ring).unwrap();
    let damaged = bench.keyring.borrow().caches[&label("damaged")].head_key;
    keyctl::update(damaged, b"\x01nonsense").unwrap();
    let planted = [
        damaged,
        add(c"user", c"stray", b"x", ring),
        add(c"keyring", c"cache:77", b"", ring),
        add(c"keyring", c"_krb", b"", ring),
        add(c"user", c"ticket:aa", b"no credential", a),
        add(c"user", c"ticket:0aa", b"x", a),
    ];
    let shared = add(c"user", c"ticket:bb", &service("y").bytes(), a);
    keyctl::set_permissions(shared, 0x3f3f_0000).unwrap();
    let found = bench.found();
    let caches: Vec<_> =
        found.kept.caches.iter().map(|(label, cache)| (label, cache.credentials().len())).collect();
    assert_eq!(caches, [(&label("a"), 1)]);
    assert_eq!(found.remarks.len(), planted.len() + 1, "{:#?}", found.remarks);
    // They are somebody's, and stay.
    assert!(keys_in(a).unwrap().iter().any(|(key, _)| *key == shared));
    assert!(keyctl::links(ring).unwrap().contains(&planted[1]));
}

#[test]
fn caches_that_memory_has_no_room_for_stay_where_they_are() {
    let mut bench = Bench::new();
    bench.make("a", &[Sample { ticket: vec![7; 5000], ..service("x") }, service("y")]);
    let small = KeptOwner { memory: 1000, ..owner([2; 8]) };
    let found = take_over(bench.ring(), small, TicketKey::User).unwrap();
    assert_eq!(found.kept.caches[&label("a")].credentials().len(), 1);
    assert!(found.remarks[0].contains("agent.max_memory"), "{:?}", found.remarks);
    bench.expect_kept();
}

#[test]
fn an_agent_that_is_superseded_finds_another_token() {
    let bench = Bench::new();
    let server = bench.keyring.borrow().server;
    assert_eq!(has_token(server, TOKEN), Ok(()));
    let found = bench.found();
    assert_eq!(has_token(server, TOKEN), Err(SUPERSEDED));
    assert_eq!(has_token(found.keyring.server, [2; 8]), Ok(()));
    assert!(found.kept.next >= 1 << 32, "its numbers are others");
    assert_eq!(restore::server_key(bench.ring(), owner(TOKEN).uid), Ok(Some(server)));
}

#[test]
fn what_has_no_room_changes_nothing() {
    let mut bench = Bench::new();
    bench.make("a", &[service("x")]);
    let before = bench.shown();
    // No key holds a head that is so large.
    let bytes = principal(&format!("{}@A", "p".repeat(40_000)));
    let id = CacheId(id_of(77, TOKEN));
    let mut cache = HeldCache::new(id, PrincipalBytes::read(&mut Reader::new(&bytes)).unwrap(), 0);
    cache.put(CredentialId(id_of(78, TOKEN)), service("y").held(), 0);
    let change = Change::PutCache { label: label("a"), cache };
    let refused = bench.collections.apply(&ClientScope::User, change, 0);
    assert!(matches!(refused, Err(StorageError::Kernel(Errno::EINVAL))), "{refused:?}");
    assert_eq!(bench.shown(), before);
    bench.expect_kept();
}

#[test]
fn a_thousand_tickets_are_removed_at_once() {
    let mut bench = Bench::new();
    let samples: Vec<Sample> =
        (0..1000).map(|number| Sample { end: now_32() + 1000, ..service(&format!("s{number}")) }).collect();
    bench.make("a", &samples);
    let ids = bench.ids("a");
    bench.apply(Change::RemoveCredentials { label: label("a"), ids });
    bench.expect_kept();
    assert_eq!(keyctl::links(bench.cache_ring("a")).unwrap().len(), 1, "the head");
}

#[test]
fn a_cache_of_a_principal_of_five_thousand_bytes_takes_tickets() {
    let mut bench = Bench::new();
    bench.make_for(&format!("{}@A", "p".repeat(5000)), "a", &[]);
    bench.store("a", &Sample { end: now_32() + 1000, ..service("x") });
    bench.expect_kept();
}
