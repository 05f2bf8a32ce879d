//! With real keys of this process's user keyring, under names of the test's own.

use super::head::{CacheHead, FIRST_BYTES, PAYLOAD_BYTES};
use super::name::PERMISSIONS;
use super::*;
use crate::key::{KeyDescription, KeySerial};
use crate::sys::fork::{ForkResult, REACHED, fork};
use crate::sys::keyctl;
use crate::sys::process::end;
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Uid, getpid, setresuid};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(600);
/// Default permissions of a key (keyrings(7)).
const USUAL: u32 = 0x3f01_0000;

/// A cache's name, whose keys are gone when this is dropped.
struct Named {
    directory: PathBuf,
    name: TicketKeyName,
}

impl Named {
    fn new(test: &str) -> Self {
        keyctl::join_anonymous_session().unwrap();
        let directory = PathBuf::from(format!("/lgss-unit-{}-{test}/machine", getpid()));
        let name = TicketKeyName::of(&directory.join("5e")).unwrap();
        Self { directory, name }
    }

    fn store(&self, cache: &[u8]) -> Result<(), TicketKeyFailure> {
        StagedKeys::make(&self.name)?.store(cache, LONG)
    }

    fn read(&self) -> Result<Vec<u8>, TicketKeyFailure> {
        read(&self.name).map(|mut cache| std::mem::take(&mut *cache))
    }

    fn kept(&self) -> Vec<KeptKey> {
        kept_below(&self.directory).unwrap()
    }

    #[track_caller]
    fn wait_for(&self, failure: TicketKeyFailure) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.read() != Err(failure) {
            assert!(Instant::now() < deadline, "no {failure:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Puts a key of this name into the user keyring, by hand.
    fn plant(&self, payload: &[u8], permissions: u32) -> i32 {
        let ring = keyctl::PROCESS_KEYRING;
        let key = keyctl::add(c"user", self.name.as_c_str(), payload, ring).unwrap();
        keyctl::set_permissions(key, permissions).unwrap();
        keyctl::link(key, keyctl::USER_KEYRING).unwrap();
        keyctl::unlink(key, ring).unwrap();
        key
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        for key in kept_below(&self.directory).unwrap_or_default() {
            let _ = key.drop_it();
        }
    }
}

fn cache(length: usize, seed: u8) -> Vec<u8> {
    (0_u8..=250).cycle().map(|byte| byte.wrapping_mul(seed)).take(length).collect()
}

/// Whether a child that first does `before` and then is this user alone sees what it should.
fn holds_for(uid: u32, before: impl FnOnce(), seen: impl FnOnce() -> bool) -> bool {
    match fork().unwrap() {
        ForkResult::Child => {
            before();
            let uid = Uid::from_raw(uid);
            let changed = nix::unistd::setgroups(&[]).is_ok() && setresuid(uid, uid, uid).is_ok();
            end(if changed && seen() { REACHED } else { 1 })
        }
        ForkResult::Parent { child } => {
            matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, REACHED))
        }
    }
}

/// A uid without keys.
fn stranger(number: u32) -> u32 {
    1_800_000_000 + getpid().as_raw().cast_unsigned() * 8 + number
}

#[test]
fn a_cache_of_any_size_is_read_as_it_was_stored_and_its_predecessor_leaves_nothing() {
    let named = Named::new("sizes");
    assert_eq!(named.read(), Err(TicketKeyFailure::Absent));
    let sizes = [1, 900, FIRST_BYTES, FIRST_BYTES + 1, FIRST_BYTES + 2 * PAYLOAD_BYTES, 30_000, 50_000, 5];
    for (size, keys) in sizes.into_iter().zip([1, 1, 1, 2, 3, 8, 13, 1]) {
        let content = cache(size, 3);
        named.store(&content).unwrap();
        assert!(named.read() == Ok(content) && is_there(&named.name), "{size}");
        assert_eq!(named.kept().len(), keys, "{size}");
        assert_eq!(named.kept().iter().filter(|key| key.is_cache).count(), 1);
    }
}

#[test]
fn three_reports_of_one_negotiation_replace_each_other() {
    let named = Named::new("reports");
    let mut staged = StagedKeys::make(&named.name).unwrap();
    for seed in 1..5 {
        let content = cache(6_000, seed);
        staged.store(&content, LONG).unwrap();
        assert!(named.read() == Ok(content) && named.kept().len() == 2, "{seed}");
    }
}

#[test]
fn keys_are_for_their_owner_alone_and_end_with_the_tickets() {
    let named = Named::new("rights");
    let mut staged = StagedKeys::make(&named.name).unwrap();
    staged.store(&cache(20_000, 1), Duration::from_secs(2)).unwrap();
    for key in named.kept() {
        let found = KeyDescription::of(key.serial).unwrap();
        assert_eq!((found.uid, found.permissions), (0, PERMISSIONS));
    }
    named.wait_for(TicketKeyFailure::Absent);
    assert!(!is_there(&named.name));
    named.store(b"anew").unwrap();
    assert_eq!(named.read(), Ok(b"anew".to_vec()));
}

/// As a program that was started in root's session and has dropped root's uid.
#[test]
fn another_user_who_possesses_roots_user_keyring_reads_nothing_and_changes_nothing() {
    let named = Named::new("possessed");
    named.store(b"tickets").unwrap();
    let first = named.kept().first().unwrap().serial.raw();
    let root_keyring = keyctl::make_keyring(keyctl::USER_KEYRING).unwrap();
    let before = || keyctl::link(keyctl::USER_KEYRING, keyctl::SESSION_KEYRING).unwrap();
    let denied = |result: Result<(), Errno>| result == Err(Errno::EACCES);
    assert!(holds_for(stranger(0), before, || {
        denied(keyctl::read(first).map(drop))
            && denied(keyctl::update(first, b"x"))
            && denied(keyctl::link(first, keyctl::PROCESS_KEYRING))
            && denied(keyctl::set_timeout(first, LONG))
            && denied(keyctl::invalidate(first))
            // What they add would change the key.
            && denied(keyctl::add(c"user", named.name.as_c_str(), b"x", root_keyring).map(drop))
    }));
    assert_eq!(named.read(), Ok(b"tickets".to_vec()));
}

#[test]
fn a_key_that_somebody_else_has_planted_is_not_used_and_gives_way() {
    let named = Named::new("planted");
    let root_keyring = keyctl::make_keyring(keyctl::USER_KEYRING).unwrap();
    let before = || keyctl::link(keyctl::USER_KEYRING, keyctl::SESSION_KEYRING).unwrap();
    for permissions in [PERMISSIONS, USUAL, 0x3f3f_3f3f] {
        let payload = CacheHead::of(b"false", Vec::new()).encode(b"false");
        assert!(holds_for(stranger(1), before, || {
            let key = keyctl::add(c"user", named.name.as_c_str(), payload.as_slice(), root_keyring);
            key.and_then(|key| keyctl::set_permissions(key, permissions)).is_ok()
        }));
        assert_eq!(named.read(), Err(TicketKeyFailure::Foreign), "{permissions:08x}");
        assert!(!is_there(&named.name) && named.kept().iter().all(|key| !key.is_cache));
        named.store(b"tickets").unwrap();
        assert_eq!(named.read(), Ok(b"tickets".to_vec()));
        named.kept().iter().for_each(|key| key.drop_it().unwrap());
        assert_eq!(named.read(), Err(TicketKeyFailure::Absent));
    }
}

#[test]
fn a_key_of_ours_that_others_have_rights_to_is_not_used() {
    let named = Named::new("open");
    let payload = CacheHead::of(b"x", Vec::new()).encode(b"x");
    for permissions in [USUAL, 0x3f3f_0000, 0x003f_0100, 0x003f_0002] {
        named.plant(payload.as_slice(), permissions);
        assert_eq!(named.read(), Err(TicketKeyFailure::Foreign), "{permissions:08x}");
    }
    named.plant(payload.as_slice(), PERMISSIONS);
    assert_eq!(named.read(), Ok(b"x".to_vec()));
}

#[test]
fn damaged_contents_are_not_used() {
    let named = Named::new("damaged");
    named.store(&cache(6_000, 1)).unwrap();
    let part = named.kept().into_iter().find(|key| !key.is_cache).unwrap().serial;
    let whole = keyctl::read(part.raw()).unwrap();
    for wrong in [b"x".to_vec(), cache(whole.len(), 9), cache(PAYLOAD_BYTES, 9)] {
        keyctl::update(part.raw(), &wrong).unwrap();
        assert_eq!(named.read(), Err(TicketKeyFailure::Damaged));
    }
    keyctl::update(part.raw(), &whole).unwrap();
    assert!(named.read() == Ok(cache(6_000, 1)));
    keyctl::unlink(part.raw(), keyctl::USER_KEYRING).unwrap();
    // The kernel takes its time to forget it.
    named.wait_for(TicketKeyFailure::Damaged);

    let foreign = KeySerial::new(keyctl::make_keyring(keyctl::USER_KEYRING).unwrap()).unwrap();
    let elsewhere = CacheHead { parts: vec![foreign], ..CacheHead::of(&cache(6_000, 1), Vec::new()) };
    let short = CacheHead { length: 4, ..CacheHead::of(b"cache", Vec::new()) };
    for payload in [
        elsewhere.encode(&cache(FIRST_BYTES, 1)),
        short.encode(b"cache"),
        CacheHead::of(b"other", Vec::new()).encode(b"cache"),
        CacheHead { length: usize::MAX, ..CacheHead::of(b"", Vec::new()) }.encode(b"cache"),
    ] {
        named.plant(payload.as_slice(), PERMISSIONS);
        assert_eq!(named.read(), Err(TicketKeyFailure::Damaged));
    }
    named.plant(b"x", PERMISSIONS);
    assert_eq!(named.read(), Err(TicketKeyFailure::Damaged));
}

#[test]
fn more_than_there_is_room_for_is_refused_and_the_former_cache_stays() {
    let named = Named::new("large");
    named.store(b"former").unwrap();
    let failure = named.store(&cache(FIRST_BYTES + 6 * PAYLOAD_BYTES + 1, 1)).unwrap_err();
    assert!(failure.to_string().starts_with("28509 bytes, of which keys take 28508:"), "{failure}");
    assert_eq!((named.read(), named.kept().len()), (Ok(b"former".to_vec()), 1));
}

#[test]
fn a_full_quota_is_told_in_figures_and_the_former_cache_stays() {
    let named = Named::new("quota");
    let told = |failure: TicketKeyFailure| {
        let text = failure.to_string();
        text.contains(" of 20000 bytes, ") && text.contains(" of 200 keys; sysctl kernel.keys.root_maxkeys")
    };
    assert!(holds_for(
        stranger(2),
        || (),
        || {
            let as_it_was = || named.read() == Ok(b"former".to_vec()) && named.kept().len() == 1;
            named.store(b"former").is_ok()
                && as_it_was()
                && named.store(&cache(25_000, 1)).is_err_and(told)
                && as_it_was()
                && (0..200).any(|number| {
                    let name = std::ffi::CString::new(format!("lgss-test-{number}")).unwrap();
                    keyctl::add(c"user", &name, b"x", keyctl::USER_KEYRING) == Err(Errno::EDQUOT)
                })
                && StagedKeys::make(&named.name).is_err_and(told)
                && as_it_was()
        }
    ));
}

#[test]
fn a_reader_finds_the_former_cache_or_the_new_one() {
    const STORES: usize = 100;
    let named = Named::new("replaced");
    let caches = [cache(9_000, 1), cache(20_000, 2)];
    named.store(&caches[0]).unwrap();
    // At most one store begins during a read.
    let (stored, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=STORES {
                let before = read.load(Ordering::SeqCst);
                named.store(&caches[number % 2]).unwrap();
                stored.store(number, Ordering::SeqCst);
                let deadline = Instant::now() + Duration::from_secs(30);
                while read.load(Ordering::SeqCst) == before {
                    assert!(Instant::now() < deadline, "the reader has ended");
                    std::thread::yield_now();
                }
            }
        });
        while stored.load(Ordering::SeqCst) < STORES {
            let found = named.read();
            read.fetch_add(1, Ordering::SeqCst);
            assert!(
                found.as_ref().is_ok_and(|found| caches.contains(found)),
                "{:?}",
                found.map(|it| it.len())
            );
        }
        read.fetch_add(1, Ordering::SeqCst);
    });
}

#[test]
fn names_are_those_of_files_and_each_directory_has_its_own() {
    let name = TicketKeyName::of("/run/lgss/machine/5e".as_ref()).unwrap();
    assert_eq!(name.to_string(), "lgss:/run/lgss/machine/5e");
    assert_eq!(TicketKeyName::read(&name.to_string()), Some(name));
    assert_eq!(TicketKeyName::read("/run/lgss/machine/5e"), None);
    let (one, other) = (Named::new("directory"), Named::new("directory2"));
    one.store(b"one").unwrap();
    other.store(b"other").unwrap();
    assert_eq!((one.kept().len(), other.kept().len()), (1, 1));
    one.kept().iter().for_each(|key| key.drop_it().unwrap());
    assert_eq!((one.read(), other.read()), (Err(TicketKeyFailure::Absent), Ok(b"other".to_vec())));
}

/// Two that replace a cache at once: the later displaces the first key of the other, whose parts it does not know.
#[test]
fn parts_that_nobody_knows_any_more_are_removed_by_the_next_one() {
    let named = Named::new("orphans");
    named.store(&cache(20_000, 1)).unwrap();
    let of_one = named.kept().len();
    let mut later = StagedKeys::make(&named.name).unwrap();
    match fork().unwrap() {
        ForkResult::Child => end(if named.store(&cache(20_000, 2)).is_ok() { REACHED } else { 1 }),
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, REACHED)));
        }
    }
    assert_eq!(named.read().unwrap(), cache(20_000, 2));
    // While its first key is there, its parts may be of use.
    drop(StagedKeys::make(&named.name).unwrap());
    assert_eq!(named.read().unwrap(), cache(20_000, 2));
    later.store(&cache(20_000, 3), LONG).unwrap();
    let with_orphans = named.kept().len();
    assert!(with_orphans > of_one, "{with_orphans} keys, of which {of_one} are in use");
    // The kernel frees the first key some time later.
    let deadline = Instant::now() + Duration::from_secs(30);
    while named.kept().len() != of_one {
        assert!(Instant::now() < deadline, "{} keys", named.kept().len());
        drop(StagedKeys::make(&named.name).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(named.read().unwrap(), cache(20_000, 3));
}
