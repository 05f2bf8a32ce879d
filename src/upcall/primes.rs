//! The primes of shared keys that have passed their test, which takes a tenth of a second and more: of all the requests of a
//! mount of many targets one makes it, and the others wait for that one.
//!
//! Below the run directory: `primes/<SHA-256 of the prime>` says that the prime is safe, and is locked while it is
//! tested. Invariant: what cannot be read or written, or has been removed meanwhile, costs an extra test, and never saves one.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

use super::stale::is_older;
use crate::config::Config;
use crate::creds::source::PrimeTest;
use crate::sys::files::{private_directory, subdirectory};
use crate::sys::locks::LockFile;

/// What the file of a safe prime says.
const SAFE: &[u8] = b"safe\n";
/// Age at which the file is removed; the prime's next use costs a test.
pub(super) const PROOF_AGE: Duration = Duration::from_secs(30 * 86_400);
/// The byte of the file that is held by the request that makes the test.
const TEST_BYTE: Range<u16> = 0..1;
/// First and longest interval of checks whether the test has been made.
const FIRST_TEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_TEST_PAUSE: Duration = Duration::from_millis(50);

/// How old the file of a prime in use may become, a small part of what it may reach unused.
const TOUCH_INTERVAL: Duration = Duration::from_secs(86_400);

/// The memory of one prime.
#[derive(Debug)]
pub(super) struct PrimeMemory {
    file: LockFile,
    /// Whether others wait for this request's test.
    ours: bool,
}

impl PrimeMemory {
    /// Opens it; `None` if that is impossible.
    pub(super) fn of(config: &Config, prime: &[u8]) -> Option<Self> {
        let file = LockFile::open(directory(config)?.as_fd(), &name(prime)).ok()?;
        Some(Self { file, ours: false })
    }

    /// Whether the prime has to be tested, once no other request is doing so, or at the deadline.
    pub(super) fn test(&mut self, deadline: Instant) -> PrimeTest {
        let mut pause = FIRST_TEST_PAUSE;
        loop {
            if self.is_safe() {
                self.keep_young();
                return PrimeTest::Passed;
            }
            match self.file.try_take(&TEST_BYTE) {
                Ok(true) => {
                    self.ours = true;
                    // It may have passed just before.
                    if self.is_safe() {
                        self.give_up_turn();
                        return PrimeTest::Passed;
                    }
                    return PrimeTest::Due;
                }
                Ok(false) if Instant::now() < deadline => {}
                Ok(false) | Err(_) => return PrimeTest::Due,
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_TEST_PAUSE);
        }
    }

    /// Records that the prime has passed its test.
    pub(super) fn passed(&mut self) {
        let _ = write(self.file.file());
        self.give_up_turn();
    }

    /// Lets another request make the test.
    pub(super) fn give_up_turn(&mut self) {
        if std::mem::take(&mut self.ours) {
            self.file.release(&TEST_BYTE);
        }
    }

    /// What is used is not swept away. If it is nevertheless, that costs a test.
    fn keep_young(&self) {
        if is_older(&self.file, TOUCH_INTERVAL) {
            let _ = self.file.file().set_modified(SystemTime::now());
        }
    }

    fn is_safe(&self) -> bool {
        let mut said = [0; SAFE.len()];
        self.file.file().read_exact_at(&mut said, 0).is_ok() && said == SAFE
    }
}

fn write(mut file: &File) -> io::Result<()> {
    io::Write::write_all(&mut file, SAFE)
}

fn directory(config: &Config) -> Option<OwnedFd> {
    let run = private_directory(&config.run_dir).ok()?;
    subdirectory(run.as_fd(), "primes").ok()
}

fn name(prime: &[u8]) -> String {
    Sha256::digest(prime).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn settings() -> (tempfile::TempDir, Config) {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().to_owned();
        (directory, config)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_prime_is_tested_once_and_others_wait_for_that() {
        // Of a large file system's mount.
        const TARGETS: usize = 200;
        let (_directory, config) = settings();
        let mut first = PrimeMemory::of(&config, b"prime").unwrap();
        assert_eq!(first.test(later()), PrimeTest::Due);
        let (told, results) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..TARGETS {
                let (config, told) = (&config, told.clone());
                scope.spawn(move || {
                    let mut other = PrimeMemory::of(config, b"prime").unwrap();
                    told.send(other.test(Instant::now())).unwrap();
                    told.send(other.test(later())).unwrap();
                });
            }
            drop(told);
            // Each has found that the test is being made.
            assert!(results.iter().take(TARGETS).all(|test| test == PrimeTest::Due));
            first.passed();
            assert!(results.iter().take(TARGETS).all(|test| test == PrimeTest::Passed));
        });
        assert_eq!(PrimeMemory::of(&config, b"another").unwrap().test(later()), PrimeTest::Due);
    }

    #[test]
    fn a_test_that_is_not_finished_is_made_by_the_next_one() {
        let (_directory, config) = settings();
        let mut first = PrimeMemory::of(&config, b"prime").unwrap();
        assert_eq!(first.test(later()), PrimeTest::Due);
        first.give_up_turn();
        let mut second = PrimeMemory::of(&config, b"prime").unwrap();
        assert_eq!(second.test(later()), PrimeTest::Due);
        drop(second);
        assert_eq!(first.test(later()), PrimeTest::Due);
    }

    #[test]
    fn the_proof_of_a_prime_that_is_used_does_not_grow_old() {
        let (_directory, config) = settings();
        let mut memory = PrimeMemory::of(&config, b"prime").unwrap();
        memory.passed();
        let long_ago = SystemTime::now() - Duration::from_secs(40 * 86_400);
        memory.file.file().set_modified(long_ago).unwrap();
        let mut next = PrimeMemory::of(&config, b"prime").unwrap();
        assert_eq!(next.test(later()), PrimeTest::Passed);
        let touched = next.file.file().metadata().unwrap().modified().unwrap();
        assert!(touched > long_ago + Duration::from_secs(39 * 86_400), "{touched:?}");
    }

    #[test]
    fn other_contents_are_no_proof() {
        let (directory, config) = settings();
        for (said, test) in
            [(&b"saf"[..], PrimeTest::Due), (b"sagen", PrimeTest::Due), (SAFE, PrimeTest::Passed)]
        {
            drop(PrimeMemory::of(&config, b"p").unwrap());
            std::fs::write(directory.path().join("primes").join(name(b"p")), said).unwrap();
            assert_eq!(PrimeMemory::of(&config, b"p").unwrap().test(later()), test, "{said:?}");
        }
    }
}
