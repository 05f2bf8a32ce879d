//! Room for one more negotiation (rule S8): a locked byte in the file of the pool, and for users one in the file of
//! their owner as well. Locks end with their holder, however it ends.
//!
//! Below the run directory, which is root's alone: `slots/users`, `slots/machine`, `slots/kernel` and `owners/<owner>`. An owner's file
//! also holds the record of its failures and is removed when there is nothing in it and nobody uses it.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::backoff::{Record, What};
use super::outcome::Outcome;
use crate::config::{Backoff, Config, Limits};
use crate::event::{Cause, Failure, Stage};
use crate::identity::owner::Owner;
use crate::sys::files::{self, private_directory};
use crate::sys::locks::LockFile;

/// The byte of an owner's file that guards its record; its slots come after it.
const RECORD: Range<u16> = 0..1;
/// All bytes of an owner's file.
const ALL: Range<u16> = 0..u16::MAX;
/// How long the record is waited for: others hold it for a few system calls.
const RECORD_LIMIT: Duration = Duration::from_millis(200);
/// Longest record in bytes.
const RECORD_SIZE: usize = 1024;
/// Between two looks for a free slot.
const PAUSE: Duration = Duration::from_millis(5);
/// A file that is removed while it is opened is opened again; more often than so something is wrong.
const OPENINGS: usize = 16;

/// Who wants to negotiate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claimant<'a> {
    /// A program of a user, in that user namespace.
    User(u32, BorrowedFd<'a>, Manner),
    /// A program of root's.
    Machine,
    /// Lustre, for a user.
    LustreUser,
    /// Lustre, for this machine.
    LustreMachine,
}

/// How a program asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As programs do, as often as they like.
    Usual,
    /// As a person who has got a ticket since.
    Anew,
}

/// Room for one negotiation, until [`Slot::give_back`].
#[derive(Debug)]
pub(super) struct Slot {
    /// Root has none: its pool is all that counts.
    account: Option<Account>,
    _pool: LockFile,
}

impl Slot {
    /// Takes one for the claimant. A program is told at once that there is none; for the kernel, which has not asked at
    /// a user's whim, one is waited for.
    ///
    /// # Errors
    /// `TooMany`, `Paused`; `Setup` where the run directory cannot be used.
    pub(super) fn take(config: &Config, claimant: Claimant<'_>, deadline: Instant) -> Result<Self, Failure> {
        let run = private_directory(&config.run_dir)
            .map_err(|error| Failure::new(Stage::Admit, Cause::Setup, format_args!("run_dir: {error}")))?;
        let pools = below(&run, config, "slots")?;
        let Limits { users, machine, kernel, .. } = config.limits;
        let (uid, user_namespace, manner) = match claimant {
            Claimant::User(uid, namespace, manner) => (uid, namespace, manner),
            Claimant::Machine => {
                let full = "root has as many negotiations alive as limits.machine allows";
                return Self::of_pool(&pools, config, ("machine", machine, full), Instant::now());
            }
            Claimant::LustreMachine => {
                let full = "root and Lustre have as many negotiations alive as limits.machine allows";
                return Self::of_pool(&pools, config, ("machine", machine, full), deadline);
            }
            Claimant::LustreUser => {
                let full = "Lustre has as many users' negotiations alive as limits.kernel allows";
                return Self::of_pool(&pools, config, ("kernel", kernel, full), deadline);
            }
        };
        let owner = Owner::of(user_namespace, uid).map_err(|errno| broken(Path::new("ns/user"), errno))?;
        let account = Account::open(below(&run, config, "owners")?, owner, (uid, manner), config)?;
        let full = "all users together have as many negotiations alive as limits.users allows";
        match pool(&pools, config, ("users", users, full)) {
            Ok(pool) => Ok(Self { account: Some(account), _pool: pool }),
            Err(failure) => {
                account.close();
                Err(failure)
            }
        }
    }

    fn of_pool(pools: &OwnedFd, config: &Config, which: Pool, deadline: Instant) -> Result<Self, Failure> {
        loop {
            match pool(pools, config, which) {
                Ok(pool) => return Ok(Self { account: None, _pool: pool }),
                Err(full) if full.cause != Cause::TooMany || Instant::now() >= deadline => return Err(full),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    /// Counts a failure, or ends the row of them. If the record cannot be written, there will be no pause.
    pub(super) fn remember(&self, outcome: &Outcome) {
        if let Some(account) = &self.account {
            let _ = account.remember(outcome);
        }
    }

    /// Makes room for another.
    pub(super) fn give_back(self) {
        if let Some(account) = self.account {
            account.close();
        }
    }
}

/// A subdirectory of the run directory.
fn below(run: &OwnedFd, config: &Config, name: &str) -> Result<OwnedFd, Failure> {
    files::subdirectory(run.as_fd(), name).map_err(|errno| broken(&config.run_dir.join(name), errno))
}

/// A pool's name, its size, and what is said when it is full.
type Pool = (&'static str, u16, &'static str);

/// Takes a byte of the pool's file.
fn pool(pools: &OwnedFd, config: &Config, (name, size, full): Pool) -> Result<LockFile, Failure> {
    let failed = |errno| broken(&config.run_dir.join("slots").join(name), errno);
    let pool = LockFile::open(pools.as_fd(), name).map_err(failed)?;
    if pool.try_take_any(0..size).map_err(failed)? { Ok(pool) } else { Err(too_many(full)) }
}

/// One negotiation in the file of its owner.
#[derive(Debug)]
struct Account {
    file: LockFile,
    directory: OwnedFd,
    name: String,
    uid: u32,
    backoff: Backoff,
}

impl Account {
    fn open(
        directory: OwnedFd,
        owner: Owner,
        (uid, manner): (u32, Manner),
        config: &Config,
    ) -> Result<Self, Failure> {
        let name = owner.file_name();
        let failed = |errno| broken(&config.run_dir.join("owners").join(owner.file_name()), errno);
        let slots = 1..config.limits.per_owner.saturating_add(1);
        for _ in 0..OPENINGS {
            let file = LockFile::open(directory.as_fd(), &name).map_err(failed)?;
            let now = since_boot();
            let pausing = read(&file).and_then(|record| record.pause_left(now).map(|left| (record, left)));
            if let Some((record, left)) = pausing
                && (manner == Manner::Usual || record.forbids_anew(now))
            {
                let (words, seconds) = (record.in_words(uid), left.as_secs_f32());
                let detail = format_args!("{owner}: {words}; paused for another {seconds:.1} s");
                return Err(Failure::new(Stage::Admit, Cause::Paused, detail));
            }
            if !file.try_take_any(slots.clone()).map_err(failed)? {
                let detail = "as many negotiations alive as limits.per_owner allows";
                return Err(too_many(format_args!("{owner} has {detail}")));
            }
            if file.has_name().map_err(failed)? {
                return Ok(Self { file, directory, name, uid, backoff: config.backoff });
            }
        }
        Err(failed(Errno::ESTALE))
    }

    fn remember(&self, outcome: &Outcome) -> Option<()> {
        self.file.hold(&RECORD, Instant::now() + RECORD_LIMIT, |file| {
            let text = match outcome {
                Outcome::Established { .. } => String::new(),
                Outcome::Failed(failure) => {
                    let what = What::of(failure, self.uid);
                    let before = read(&self.file);
                    Record::after_failure(before, since_boot(), what, &self.backoff).to_string()
                }
            };
            file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0)).ok()
        })?
    }

    /// Removes the file if nothing is in it and nobody else has a byte of it. Our own is let go before: of two who close at
    /// the same time, the last one finds nobody else.
    fn close(self) {
        self.file.release(&ALL);
        let empty = self.file.file().metadata().is_ok_and(|metadata| metadata.len() == 0);
        if empty && self.file.try_take(&ALL) == Ok(true) {
            let _ = unlinkat(self.directory.as_fd(), self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn read(file: &LockFile) -> Option<Record> {
    let mut buffer = [0; RECORD_SIZE];
    let length = file.file().read_at(&mut buffer, 0).ok()?;
    std::str::from_utf8(buffer.get(..length)?).ok()?.parse().ok()
}

/// The clock of records: it does not jump, and it goes on while the machine sleeps.
pub(super) fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Whether a record says nothing about the next request of its owner any more.
pub(super) fn is_over(file: &LockFile, config: &Config) -> bool {
    read(file).is_none_or(|record| record.is_over(since_boot(), &config.backoff))
}

fn too_many(detail: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Admit, Cause::TooMany, detail)
}

/// Without counting nothing is served: a flood would find the same hole.
fn broken(path: &Path, errno: Errno) -> Failure {
    Failure::new(Stage::Admit, Cause::Setup, format_args!("{}: {errno}", path.display()))
}
