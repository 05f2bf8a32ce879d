//! Our own cache of machine credentials (rule S19): written by the monitor, as the worker may write nowhere, and shared by
//! all requests that need the same, so that a mount of a thousand targets asks the KDC once.
//!
//! Below the run directory: `machine/<stamp>` is a FILE cache, replaced as a whole; `machine/<stamp>.state` says until when
//! the credentials are good, or how getting them has failed, and is locked by whoever gets them. The stamp stands for
//! what tickets depend on: another keytab, krb5.conf, role, realm or principal is another file.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::creds::stamp::Stamp;
use crate::event::{Cause, Failure, Stage};
use crate::secret::Secret;
use crate::sys::files::{private_directory, subdirectory};
use crate::sys::locks::LockFile;

/// Largest cache, in bytes.
const CACHE_LIMIT: u64 = 16 * 1024 * 1024;
const STATE_LIMIT: usize = 4096;
/// The byte of the state's file that whoever gets credentials holds.
const TURN: Range<u16> = 0..1;
/// Between two looks whether it is our turn.
const PAUSE: Duration = Duration::from_millis(2);

/// The cache for one purpose.
#[derive(Debug)]
pub(super) struct MachineCache {
    directory: OwnedFd,
    stamp: String,
    state: LockFile,
}

/// What is known of the credentials.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Good until then, seconds since the epoch.
    Good(u64),
    /// Not to be had.
    Failed(Failure),
}

/// What a request is to do.
pub(super) enum Turn {
    /// Others have seen to it that there are credentials; should they have gone since, this stores new ones.
    Provided(Getting),
    /// Get them, and say what came of it: others wait.
    Ours(Getting),
}

/// The turn to get credentials, given up when dropped.
pub(super) struct Getting(MachineCache);

impl MachineCache {
    /// Opens it.
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
        let stamp = stamp.to_string();
        let state = LockFile::open(directory.as_fd(), &format!("{stamp}.state")).map_err(broken)?;
        Ok(Self { directory, stamp, state })
    }

    /// Whether somebody has to get credentials, and whether that is us; waits for whoever is at it.
    ///
    /// # Errors
    /// What whoever was at it has failed with; `Deadline`.
    pub(super) fn turn(self, deadline: Instant) -> Result<Turn, Failure> {
        let mut waited = false;
        loop {
            if self.is_good() {
                return Ok(Turn::Provided(Getting(self)));
            }
            if self.state.try_take(&TURN).map_err(|errno| self.broken(errno))? {
                // Whoever had it before us has left a word.
                return match self.read_state() {
                    Some(State::Failed(failure)) if waited => Err(failure),
                    _ if self.is_good() => Ok(Turn::Provided(Getting(self))),
                    _ => Ok(Turn::Ours(Getting(self))),
                };
            }
            if Instant::now() >= deadline {
                let detail = "another request did not get machine credentials in time";
                return Err(Failure::new(Stage::Credentials, Cause::Deadline, detail));
            }
            waited = true;
            thread::sleep(PAUSE);
        }
    }

    fn is_good(&self) -> bool {
        matches!(self.read_state(), Some(State::Good(until)) if until > now())
    }

    fn read_state(&self) -> Option<State> {
        let mut buffer = [0; STATE_LIMIT];
        let length = self.state.file().read_at(&mut buffer, 0).ok()?;
        serde_json::from_slice(buffer.get(..length)?).ok()
    }

    fn broken(&self, errno: Errno) -> Failure {
        Failure::new(Stage::Credentials, Cause::Setup, format_args!("machine/{}: {errno}", self.stamp))
    }
}

/// The contents of the cache, if there is one.
pub(super) fn contents(config: &Config, stamp: &Stamp) -> Option<Zeroizing<Vec<u8>>> {
    let path = config.run_dir.join("machine").join(stamp.to_string());
    let mut content = Zeroizing::new(Vec::new());
    File::open(path).ok()?.take(CACHE_LIMIT).read_to_end(&mut content).ok()?;
    Some(content)
}

impl Getting {
    /// There are credentials, with a cache of them to store unless that is empty. If it cannot be stored, the next
    /// request gets credentials anew.
    pub(super) fn succeeded(self, good_until: u32, cache: &Secret) {
        let stored = cache.is_empty() || self.0.store(cache).is_ok();
        if stored {
            self.0.write_state(&State::Good(good_until.into()));
        }
    }

    /// There are none, and those who wait need not try the same.
    pub(super) fn failed(self, failure: &Failure) {
        self.0.write_state(&State::Failed(failure.clone()));
    }
}

impl MachineCache {
    fn store(&self, cache: &Secret) -> Result<(), Errno> {
        let new = format!("{}.new", self.stamp);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file: File = openat(self.directory.as_fd(), new.as_str(), flags, mode)?.into();
        file.write_all(cache.expose())
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let directory = self.directory.as_fd();
        renameat(directory, new.as_str(), directory, self.stamp.as_str())
    }

    fn write_state(&self, state: &State) {
        // Without it the next request does what this one has done.
        let text = serde_json::to_vec(state).unwrap_or_default();
        let file = self.state.file();
        let _ = file.set_len(0).and_then(|()| file.write_all_at(&text, 0));
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
