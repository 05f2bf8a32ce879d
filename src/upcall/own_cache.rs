//! Our own cache of machine credentials (rule S19). The monitor writes it, since the worker may write nowhere. All
//! requests that need the same credentials share it, so that a mount of a thousand targets asks the KDC once.
//!
//! Below the run directory: `machine/<stamp>` is a FILE cache, replaced as a whole; `machine/<stamp>.state` says until
//! when the credentials are good, or how getting them has failed, and is locked by the request that gets them. The
//! stamp stands for everything that tickets depend on: another keytab, krb5.conf, role, realm or principal has another
//! file. With `machine.cache = "keyring"` keys of root's are in the place of the first file
//! ([`crate::creds::ticket_keys`]), and only the state is in a file.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use super::stale::{is_older, names, remove};
use super::ticket_store::{NEW, NotStored, TicketStore, keys_name};
use crate::config::Config;
use crate::creds::stamp::Stamp;
use crate::creds::ticket_keys::{self, TicketKeyName};
use crate::event::{Cause, Failure, Stage};
use crate::secret::Secret;
use crate::sys::files::{private_directory, subdirectory};
use crate::sys::locks::LockFile;
use crate::time::now;

const STATE_LIMIT: usize = 4096;
/// The byte of the state's file that is held by the request whose turn it is to get credentials.
const TURN_BYTE: Range<u16> = 0..1;
/// Suffix of files that hold failures ([`super::machine_part`]).
pub(super) const FAILED: &str = ".failed";
/// Suffix of files that hold the state of a cache.
const STATE: &str = ".state";
/// Age at which a file that is being written has been abandoned.
const UNFINISHED_AGE: Duration = Duration::from_secs(3600);
/// How long an expired cache is kept, since its user may ask again.
const EXPIRED_AGE: Duration = Duration::from_secs(86_400);
/// First and longest interval of checks whether it is our turn. Hundreds of requests may wait for the same.
const FIRST_TURN_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_TURN_PAUSE: Duration = Duration::from_millis(50);

/// The cache for one purpose.
#[derive(Debug)]
pub(super) struct OwnCache {
    directory: OwnedFd,
    stamp: String,
    state: LockFile,
    /// Of the keys that have the tickets, if keys have them.
    keys: Option<TicketKeyName>,
}

/// State of the credentials.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CacheState {
    /// Good until then, seconds since the epoch.
    Good(u64),
    /// Not available, for this reason.
    Failed(Failure),
}

impl CacheState {
    fn read(file: &File) -> Option<Self> {
        let mut buffer = [0; STATE_LIMIT];
        let length = file.read_at(&mut buffer, 0).ok()?;
        serde_json::from_slice(buffer.get(..length)?).ok()
    }
}

/// One request's turn to get credentials; the next request that waits goes on when it is dropped.
#[derive(Debug)]
pub(super) struct CacheTurn {
    cache: OwnCache,
    /// Whether this request is to get credentials, which others may wait for.
    ours: bool,
}

impl OwnCache {
    /// Opens the cache with this stamp.
    ///
    /// # Errors
    /// `Setup` where the run directory cannot be used.
    pub(super) fn open(config: &Config, stamp: &Stamp) -> Result<Self, Failure> {
        let run = private_directory(&config.run_dir).map_err(|error| {
            Failure::new(Stage::Credentials, Cause::Setup, format_args!("run_dir: {error}"))
        })?;
        let broken = |errno: Errno| {
            let path = config.run_dir.join("machine");
            Failure::new(Stage::Credentials, Cause::Setup, format_args!("{}: {errno}", path.display()))
        };
        let directory = subdirectory(run.as_fd(), "machine").map_err(broken)?;
        let keys = keys_name(config, stamp);
        let stamp = stamp.to_string();
        let state = state(&directory, &stamp).map_err(broken)?;
        Ok(Self { directory, stamp, state, keys })
    }

    /// Waits while another request gets the missing credentials. If they are available then, this request has nothing
    /// to get; if not, it is its turn.
    ///
    /// # Errors
    /// The failure of the request that was getting them; `Deadline`.
    pub(super) fn turn(mut self, deadline: Instant) -> Result<CacheTurn, Failure> {
        let (mut waited, mut pause) = (false, FIRST_TURN_PAUSE);
        loop {
            if self.is_good() {
                return Ok(CacheTurn { cache: self, ours: false });
            }
            if self.state.try_take(&TURN_BYTE).map_err(|errno| self.broken(errno))? {
                if !self.state.has_name().map_err(|errno| self.broken(errno))? {
                    // Removed since it was opened; others take turns in a new one.
                    self.state = state(&self.directory, &self.stamp).map_err(|errno| self.broken(errno))?;
                    continue;
                }
                // The previous request has left its result.
                return match self.read_state() {
                    Some(CacheState::Failed(failure)) if waited => Err(failure),
                    _ if self.is_good() => Ok(CacheTurn { cache: self, ours: false }),
                    _ => {
                        // If this request ends without a result, the previous one must not count for those that wait.
                        let _ = self.state.file().set_len(0);
                        Ok(CacheTurn { cache: self, ours: true })
                    }
                };
            }
            if Instant::now() >= deadline {
                let detail = "another request did not get machine credentials in time";
                return Err(Failure::new(Stage::Credentials, Cause::Deadline, detail));
            }
            waited = true;
            thread::sleep(pause);
            pause = (pause * 5 / 4).min(LONGEST_TURN_PAUSE);
        }
    }

    /// Keys may have gone before the time in the state.
    fn is_good(&self) -> bool {
        matches!(self.read_state(), Some(CacheState::Good(until)) if until > now())
            && self.keys.as_ref().is_none_or(ticket_keys::is_there)
    }

    fn read_state(&self) -> Option<CacheState> {
        CacheState::read(self.state.file())
    }

    fn broken(&self, errno: Errno) -> Failure {
        Failure::new(Stage::Credentials, Cause::Setup, format_args!("machine/{}: {errno}", self.stamp))
    }
}

fn state(directory: &OwnedFd, stamp: &str) -> Result<LockFile, Errno> {
    LockFile::open(directory.as_fd(), &format!("{stamp}{STATE}"))
}

impl CacheTurn {
    /// Records credentials, and stores the new cache with them unless it is empty.
    ///
    /// # Errors
    /// Why not everything is stored. The next request gets the credentials anew.
    pub(super) fn succeeded(
        &mut self,
        good_until: u32,
        new: &Secret,
        place: &mut TicketStore,
    ) -> Result<(), NotStored> {
        let stored = if new.is_empty() {
            Ok(())
        } else {
            place.put((self.cache.directory.as_fd(), &self.cache.stamp), new, good_until)
        };
        if stored.is_ok() && (self.ours || !new.is_empty()) {
            self.cache.write_state(&CacheState::Good(good_until.into()));
        }
        self.cache.state.release(&TURN_BYTE);
        self.ours = false;
        stored
    }

    /// Records that there are none, so that waiting requests need not try the same. Not after this request's own
    /// deadline, which for a mount comes soon and says nothing about theirs.
    pub(super) fn failed(self, failure: &Failure) {
        if self.ours && failure.cause != Cause::Deadline {
            self.cache.write_state(&CacheState::Failed(failure.clone()));
        }
    }
}

impl OwnCache {
    fn write_state(&self, state: &CacheState) {
        // If this fails, the next request repeats the work.
        let text = serde_json::to_vec(state).unwrap_or_default();
        let file = self.state.file();
        let _ = file.set_len(0).and_then(|()| file.write_all_at(&text, 0));
    }
}

/// Removes caches that have expired and were not asked for within a day, and half-written files.
pub(super) fn sweep(directory: &OwnedFd) {
    for name in names(directory) {
        let Ok(file) = LockFile::open_existing(directory.as_fd(), &name) else { continue };
        // Last written long ago: an unfinished file, or failures that no longer count.
        if (name.ends_with(NEW) || name.ends_with(FAILED)) && is_older(&file, UNFINISHED_AGE) {
            remove(directory, &name, &file);
        } else if let Some(stamp) = name.strip_suffix(STATE) {
            let good =
                matches!(CacheState::read(file.file()), Some(CacheState::Good(until)) if until > now());
            let is_over = !good && is_older(&file, EXPIRED_AGE);
            if is_over && remove(directory, &name, &file) {
                let _ = unlinkat(directory, stamp, UnlinkatFlags::NoRemoveDir);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineCachePlace;
    use crate::creds::ticket_keys::TicketKeyFailure;
    use crate::upcall::ticket_store::{contents, path};
    use std::fs;
    use tempfile::TempDir;

    /// Settings with a run directory of the test's own, and a stamp.
    fn scene() -> (TempDir, Config, Stamp) {
        let directory = tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap();
        let mut config = Config::default();
        config.run_dir = directory.path().to_owned();
        let stamp = Stamp::of(&[], &directory.path().join("krb5.conf"), &["a test"]).unwrap();
        (directory, config, stamp)
    }

    /// The same with the tickets in keys, which are gone when the directory is.
    struct KeyScene {
        directory: TempDir,
        config: Config,
        stamp: Stamp,
    }

    impl KeyScene {
        fn new() -> Self {
            let (directory, mut config, stamp) = scene();
            config.machine.cache = MachineCachePlace::Keyring;
            Self { directory, config, stamp }
        }

        fn turn(&self) -> CacheTurn {
            OwnCache::open(&self.config, &self.stamp).unwrap().turn(Instant::now()).unwrap()
        }

        fn store(&self, cache: &[u8]) -> Result<(), NotStored> {
            let until = u32::try_from(now()).unwrap() + 600;
            let mut store = TicketStore::of(&self.config, &self.stamp);
            self.turn().succeeded(until, &Secret::new(cache.to_vec()), &mut store)
        }
    }

    impl Drop for KeyScene {
        fn drop(&mut self) {
            for key in ticket_keys::kept_below(&self.directory.path().join("machine")).unwrap_or_default() {
                let _ = key.drop_it();
            }
        }
    }

    #[test]
    fn tickets_in_keys_end_turns_and_an_earlier_file_until_the_keys_are_gone() {
        let scene = KeyScene::new();
        assert!(scene.turn().ours);
        let file = path(&scene.config, &scene.stamp);
        fs::write(&file, "tickets of before").unwrap();
        assert_eq!(contents(&scene.config, &scene.stamp), Err(TicketKeyFailure::Absent));
        assert_eq!(scene.store(b"tickets"), Ok(()));
        assert!(!scene.turn().ours && !file.exists());
        assert!(contents(&scene.config, &scene.stamp).is_ok_and(|found| *found == b"tickets"));
        let below = scene.directory.path().join("machine");
        ticket_keys::kept_below(&below).unwrap().iter().for_each(|key| key.drop_it().unwrap());
        assert!(scene.turn().ours, "the state alone is no credential");
    }

    #[test]
    fn what_keys_cannot_take_is_told_and_nobody_relies_on_it() {
        let scene = KeyScene::new();
        let large = vec![1; 200_000];
        assert!(matches!(
            scene.store(&large),
            Err(NotStored::InKeys(TicketKeyFailure::TooLarge(200_000, _)))
        ));
        assert!(scene.turn().ours);
    }

    #[test]
    fn the_end_of_ones_own_time_is_no_result_for_those_who_wait() {
        let (_directory, config, stamp) = scene();
        let open = || OwnCache::open(&config, &stamp).unwrap();
        for (cause, told) in [(Cause::KdcSilent, true), (Cause::Deadline, false)] {
            open().turn(Instant::now()).unwrap().failed(&Failure::new(Stage::Kdc, cause, "a reason"));
            assert_eq!(open().read_state().is_some(), told, "{cause:?}");
        }
    }

    #[test]
    fn a_turn_in_a_file_that_was_removed_meanwhile_is_none() {
        let (_directory, config, stamp) = scene();
        let open = || OwnCache::open(&config, &stamp).unwrap();
        let late = open();
        let swept = open();
        assert!(swept.state.remove(swept.directory.as_fd(), &format!("{stamp}{STATE}")).unwrap());
        drop(swept);
        let first = open().turn(Instant::now()).unwrap();
        assert!(first.ours);
        let failure = late.turn(Instant::now()).unwrap_err();
        assert_eq!(failure.cause, Cause::Deadline, "two have their turn at once");
        let told = Failure::new(Stage::Kdc, Cause::KdcDown, "a reason");
        first.failed(&told);
        let path = path(&config, &stamp).with_extension("state");
        assert!(fs::read_to_string(path).unwrap().contains("a reason"));
    }
}
