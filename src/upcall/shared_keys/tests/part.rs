//! What a request waits for, leaves to others and remembers, in a run directory of the test's own.

use super::*;
use crate::config::{Backoff, Seconds};
use crate::sys::locks::LockFile;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);
const PREVIOUS: &str = "lustre:lustre#previous";
/// The primes of the newest key and of the one before it.
const PRIMES: [[u8; 64]; 2] = [[0xfb; 64], [0xf9; 64]];
/// The byte that is held by the request that makes the test.
const TEST_BYTE: std::ops::Range<u16> = 0..1;

/// The part of a usual request of the machine's, that request, and the directory that lives as long.
pub(in crate::upcall) fn usual_part() -> (SharedKeyPart, LustreCallout, TempDir) {
    let scene = Scene::new();
    let part = scene.part(Wait::Other, LONG).unwrap();
    (part, callout(TARGET), scene.directory)
}

struct Scene {
    config: Config,
    directory: TempDir,
}

impl Scene {
    /// A failure other than silence leads to a pause that no test outlives.
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().to_owned();
        config.backoff = Backoff { after: 0, first: Seconds::of(3600), longest: Seconds::of(3600) };
        Self { config, directory }
    }

    /// The part of a request that has found keys with this secret.
    fn part_with(
        &self,
        secret: u8,
        callout: &LustreCallout,
        waits: Wait,
        limit: Duration,
    ) -> Result<SharedKeyPart, Failure> {
        let deadline = Instant::now() + limit;
        let form = |prime: [u8; 64]| {
            let secret = Secret::new(vec![secret; 32]);
            Ok(Some(form(KeyParts { secret, prime: Some(prime.to_vec()), ..parts() })))
        };
        let look = |name: &str| match name {
            PLAIN => form(PRIMES[0]),
            PREVIOUS => form(PRIMES[1]),
            _ => Ok(None),
        };
        SharedKeyPart::of(find(callout, look)?, callout, &self.config, waits, deadline)
    }

    /// That of a usual request of the machine's.
    fn part(&self, waits: Wait, limit: Duration) -> Result<SharedKeyPart, Failure> {
        self.part_with(7, &callout(TARGET), waits, limit)
    }

    fn path(&self, prime: &[u8]) -> PathBuf {
        let name: String = Sha256::digest(prime).iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.path().join("primes").join(name)
    }

    fn file(&self, prime: &[u8]) -> LockFile {
        let path = self.path(prime);
        let directory = File::open(path.parent().unwrap()).unwrap();
        LockFile::open(directory.as_fd(), path.file_name().unwrap().to_str().unwrap()).unwrap()
    }

    /// Holds what the request that tests the prime holds.
    fn held(&self, prime: &[u8]) -> LockFile {
        drop(self.part(Wait::Mount, Duration::ZERO).unwrap());
        let file = self.file(prime);
        assert!(file.try_take(&TEST_BYTE).unwrap());
        file
    }

    /// Whether nobody is to test the prime.
    fn is_free(&self, prime: &[u8]) -> bool {
        let file = self.file(prime);
        let free = file.try_take(&TEST_BYTE).unwrap();
        // A child of another test may have inherited the descriptor.
        file.release(&TEST_BYTE);
        free
    }

    /// How many requests have the prime's file open.
    fn openings(&self, prime: &[u8]) -> usize {
        let path = self.path(prime);
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| *target == path).count()
    }
}

fn tests_of(part: &SharedKeyPart) -> Vec<PrimeTest> {
    part.candidates().iter().map(|candidate| candidate.test).collect()
}

fn refused() -> Failure {
    Failure::new(Stage::Negotiate, Cause::SharedKeyRefused, "refused")
}

#[test]
fn the_newest_key_comes_first_and_only_its_prime_is_waited_for_by_others() {
    let scene = Scene::new();
    let part = scene.part(Wait::Other, LONG).unwrap();
    let names: Vec<_> = part.candidates().iter().map(|candidate| candidate.name.as_str()).collect();
    assert_eq!(names, [PLAIN, PREVIOUS]);
    assert_eq!(tests_of(&part), [PrimeTest::Due, PrimeTest::Due]);
    assert_eq!(PRIMES.map(|prime| scene.is_free(&prime)), [false, true]);
    drop(part);
    assert!(scene.is_free(&PRIMES[0]));
}

#[test]
fn a_prime_that_has_passed_is_not_tested_again() {
    let scene = Scene::new();
    let mut first = scene.part(Wait::Other, LONG).unwrap();
    first.prime_is_safe(TestedPrime { candidate: 0 }).unwrap();
    assert!(scene.is_free(&PRIMES[0]));
    let mut second = scene.part(Wait::Other, LONG).unwrap();
    assert_eq!(tests_of(&second), [PrimeTest::Passed, PrimeTest::Due]);
    second.prime_is_safe(TestedPrime { candidate: 1 }).unwrap();
    assert_eq!(tests_of(&scene.part(Wait::Other, LONG).unwrap()), [PrimeTest::Passed; 2]);
}

#[test]
fn a_test_of_anothers_is_waited_for_nearly_all_of_the_time() {
    let now = Instant::now();
    assert_eq!(patience(now, now + LONG), [now + LONG * 7 / 8, now]);
    assert_eq!(patience(now, now - LONG), [now, now]);
    let scene = Scene::new();
    let _held = scene.held(&PRIMES[0]);
    let started = Instant::now();
    let part = scene.part(Wait::Mount, Duration::from_millis(200)).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(175));
    assert_eq!(tests_of(&part), [PrimeTest::Due, PrimeTest::Due]);
}

#[test]
fn the_test_of_the_second_keys_prime_is_not_waited_for() {
    let scene = Scene::new();
    let _held = scene.held(&PRIMES[1]);
    let started = Instant::now();
    let part = scene.part(Wait::Mount, LONG).unwrap();
    assert_eq!(tests_of(&part), [PrimeTest::Due, PrimeTest::Due]);
    assert!(started.elapsed() < LONG / 4, "{:?}", started.elapsed());
}

/// What a request learns that has waited for one that ends like this.
fn learned(waits: Wait, end: impl FnOnce(SharedKeyPart)) -> Result<Vec<PrimeTest>, Cause> {
    let scene = Scene::new();
    let first = scene.part(Wait::Other, LONG).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| scene.part(waits, LONG).map(|part| tests_of(&part)));
        let until = Instant::now() + LONG;
        while scene.openings(&PRIMES[0]) < 2 {
            assert!(Instant::now() < until, "the second request has not come to the prime");
            std::thread::sleep(Duration::from_millis(1));
        }
        end(first);
        second.join().unwrap().map_err(|failure| failure.cause)
    })
}

#[test]
fn who_has_waited_learns_how_it_ended_and_a_mount_goes_on_in_any_case() {
    let safe = |mut part: SharedKeyPart| part.prime_is_safe(TestedPrime { candidate: 0 }).unwrap();
    let failed = |part: SharedKeyPart| part.failed(&refused());
    assert_eq!(learned(Wait::Other, safe), Ok(vec![PrimeTest::Passed, PrimeTest::Due]));
    assert_eq!(learned(Wait::Other, drop), Ok(vec![PrimeTest::Due; 2]));
    assert_eq!(learned(Wait::Other, failed), Err(Cause::SharedKeyRefused));
    assert_eq!(learned(Wait::Mount, failed), Ok(vec![PrimeTest::Due; 2]));
}

#[test]
fn the_nodes_failures_are_remembered_for_its_keys_and_the_server_until_a_success() {
    let scene = Scene::new();
    let cause = |secret, callout: &LustreCallout, waits| {
        scene.part_with(secret, callout, waits, LONG).map(drop).err().map(|failure| failure.cause)
    };
    let node = callout(TARGET);
    let elsewhere = callout_of("0:0:r:i", "0x20000c0a84d09");
    scene.part(Wait::Other, LONG).unwrap().failed(&refused());
    assert_eq!(cause(7, &node, Wait::Other), Some(Cause::SharedKeyRefused));
    assert_eq!(cause(7, &node, Wait::Mount), None);
    assert_eq!(cause(8, &node, Wait::Other), None, "another key");
    assert_eq!(cause(7, &elsewhere, Wait::Other), None, "another server");
    scene.part(Wait::Mount, LONG).unwrap().succeeded();
    assert_eq!(cause(7, &node, Wait::Other), None, "after a success");
}

/// That is the memory of the user's next access.
#[test]
fn a_users_failures_are_not_remembered_here() {
    let scene = Scene::new();
    let user = callout_of("2001:2001::-", "0x20000c0a84d01");
    let part = || scene.part_with(7, &user, Wait::Other, LONG);
    part().unwrap().failed(&refused());
    assert!(part().is_ok());
}

/// Uid, gid, roles and level; the server's network identifier.
fn callout_of(who: &str, peer: &str) -> LustreCallout {
    format!("4:sk:{who}:1:{peer}:{TARGET}:0x20000c0a84d02:1:5f47").parse().unwrap()
}
