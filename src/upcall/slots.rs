//! Limits on negotiations (rule S8). A slot is a locked byte in the file of a pool; a user's program also takes one in
//! the file of its owner. A lock ends with its holder, however that ends.
//!
//! Taken by the monitor before it starts a worker. The files are below the run directory, which is root's alone:
//! `slots/users`, `slots/machine`, `slots/kernel` and `owners/<owner>`. An owner's file also holds the record of its
//! failures; it is removed when it is empty and not in use.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::backoff::{FailureRecord, LastFailure};
use super::outcome::Outcome;
use crate::class::Private;
use crate::config::{Backoff, Config, Limits};
use crate::ctx::request::{NO_PAUSE, OnPause};
use crate::event::{Cause, Failure, Stage};
use crate::identity::counted_owner::CountedOwner;
use crate::negotiate::messages::Paused;
use crate::sys::files::{self, private_directory};
use crate::sys::locks::LockFile;
use crate::time::{since_boot, tenths};

/// The byte of an owner's file that guards its record; the slots follow.
const OWNER_RECORD: Range<u16> = 0..1;
/// All bytes of an owner's file.
const OWNER_FILE_BYTES: Range<u16> = 0..u16::MAX;
/// Longest wait for the record, which others hold for a few system calls.
const OWNER_RECORD_WAIT: Duration = Duration::from_millis(200);
/// Longest record in bytes.
const OWNER_RECORD_SIZE: usize = 2048;
/// Interval of tries while no slot is free. Each is a call for each slot, and on a client with many targets hundreds may wait.
/// The same for all, so that newcomers have no advantage.
const SLOT_PAUSE: Duration = Duration::from_millis(50);
/// Most openings of an owner's file, which may be removed just after it is opened.
const OPENINGS: usize = 16;

/// Who wants to negotiate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claimant<'a> {
    /// A program of a user, in that user namespace.
    User(u32, BorrowedFd<'a>, OnPause),
    /// A program of root's.
    Machine(OnPause),
    /// Lustre, for a user.
    LustreUser,
    /// Lustre, for this machine.
    LustreMachine,
}

/// The right to one negotiation, until [`Slot::give_back`].
#[derive(Debug)]
pub(super) struct Slot {
    /// Of a user's program; all others are limited by their pool alone.
    owner_slot: Option<OwnerSlot>,
    _pool: LockFile,
}

impl Slot {
    /// Takes one for the claimant. A program fails at once if none is free; for the kernel, whose requests are not made
    /// at a user's whim, this waits until `deadline`.
    ///
    /// # Errors
    /// `TooMany`, `Paused`; `Setup` where the run directory cannot be used.
    pub(super) fn take(config: &Config, claimant: Claimant<'_>, deadline: Instant) -> Result<Self, Failure> {
        let run = private_directory(&config.run_dir)
            .map_err(|error| Failure::new(Stage::Admit, Cause::Setup, format_args!("run_dir: {error}")))?;
        let pools = below(&run, config, "slots")?;
        let Limits { users, machine, kernel, .. } = config.limits;
        let (uid, user_namespace, anew) = match claimant {
            Claimant::User(uid, namespace, anew) => (uid, namespace, anew),
            Claimant::Machine(OnPause::EndOnly) => return Err(unpaused(NO_PAUSE)),
            Claimant::Machine(_) => {
                let full = "root has as many negotiations alive as limits.machine allows";
                return Pool { name: "machine", size: machine, full }.wait(&pools, config, Instant::now());
            }
            Claimant::LustreMachine => {
                let full = "root and Lustre have as many negotiations alive as limits.machine allows";
                return Pool { name: "machine", size: machine, full }.wait(&pools, config, deadline);
            }
            Claimant::LustreUser => {
                let full = "Lustre has as many users' negotiations alive as limits.kernel allows";
                return Pool { name: "kernel", size: kernel, full }.wait(&pools, config, deadline);
            }
        };
        let owner =
            CountedOwner::of(user_namespace, uid).map_err(|errno| broken(Path::new("ns/user"), errno))?;
        let request = UserRequest { owner, uid, anew };
        let owner_slot = OwnerSlot::open(below(&run, config, "owners")?, request, config)?;
        let full = "all users together have as many negotiations alive as limits.users allows";
        match (Pool { name: "users", size: users, full }).take(&pools, config) {
            Ok(pool) => Ok(Self { owner_slot: Some(owner_slot), _pool: pool }),
            Err(failure) => {
                owner_slot.close();
                Err(failure)
            }
        }
    }

    /// The owner's pause, if there is one: only credentials that have not failed are tried.
    pub(super) fn paused(&self) -> Option<&Paused> {
        self.owner_slot.as_ref()?.paused.as_ref()
    }

    /// Records a failure with these credentials; a success ends the row of failures. Without a record, which may be
    /// impossible to write, there will be no pause.
    pub(super) fn remember(&self, outcome: &Outcome, tried: Option<&[u64]>) {
        if let Some(owner_slot) = &self.owner_slot {
            let _ = owner_slot.remember(outcome, tried);
        }
    }

    /// Frees it.
    pub(super) fn give_back(self) {
        if let Some(owner_slot) = self.owner_slot {
            owner_slot.close();
        }
    }
}

/// A subdirectory of the run directory.
fn below(run: &OwnedFd, config: &Config, name: &str) -> Result<OwnedFd, Failure> {
    files::subdirectory(run.as_fd(), name).map_err(|errno| broken(&config.run_dir.join(name), errno))
}

/// The slots of all claimants of one kind.
#[derive(Clone, Copy)]
struct Pool {
    /// Of its file.
    name: &'static str,
    /// How many slots it has.
    size: u16,
    /// The failure's words when all are taken.
    full: &'static str,
}

impl Pool {
    /// Takes a byte of the pool's file.
    fn take(self, pools: &OwnedFd, config: &Config) -> Result<LockFile, Failure> {
        let failed = |errno| broken(&config.run_dir.join("slots").join(self.name), errno);
        let pool = LockFile::open(pools.as_fd(), self.name).map_err(failed)?;
        if pool.try_take_any(0..self.size).map_err(failed)? { Ok(pool) } else { Err(too_many(self.full)) }
    }

    /// Takes a slot that no owner is counted for; waits for it until `deadline`.
    fn wait(self, pools: &OwnedFd, config: &Config, deadline: Instant) -> Result<Slot, Failure> {
        loop {
            match self.take(pools, config) {
                Ok(pool) => return Ok(Slot { owner_slot: None, _pool: pool }),
                Err(full) if full.cause != Cause::TooMany || Instant::now() >= deadline => return Err(full),
                Err(_) => thread::sleep(SLOT_PAUSE.min(deadline.saturating_duration_since(Instant::now()))),
            }
        }
    }
}

/// A program's request, as it is counted.
#[derive(Debug, Clone, Copy)]
struct UserRequest {
    /// Whose limit and pause apply.
    owner: CountedOwner,
    /// The requester; several uids can have one owner.
    uid: u32,
    /// What to do about a pause.
    anew: OnPause,
}

/// A slot in the file of its owner.
#[derive(Debug)]
struct OwnerSlot {
    file: LockFile,
    directory: OwnedFd,
    name: String,
    uid: u32,
    backoff: Backoff,
    paused: Option<Paused>,
}

impl OwnerSlot {
    fn open(directory: OwnedFd, request: UserRequest, config: &Config) -> Result<Self, Failure> {
        let UserRequest { owner, uid, anew } = request;
        let name = owner.file_name();
        let failed = |errno| broken(&config.run_dir.join("owners").join(owner.file_name()), errno);
        let slots = 1..config.limits.per_owner.saturating_add(1);
        for _ in 0..OPENINGS {
            let file = LockFile::open(directory.as_fd(), &name).map_err(failed)?;
            let passed = pass_pause(&file, request);
            if let (OnPause::EndOnly, _) | (_, Err(_)) = (anew, &passed) {
                let owner_slot = Self { file, directory, name, uid, backoff: config.backoff, paused: None };
                owner_slot.close();
                return Err(passed.err().unwrap_or_else(|| unpaused(NO_PAUSE)));
            }
            let mut taken = file.try_take_any(slots.clone()).map_err(failed)?;
            if !taken {
                // A process that removes the file holds all of it for a moment.
                file.hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |_| ());
                if !file.has_name().map_err(failed)? {
                    continue;
                }
                taken = file.try_take_any(slots.clone()).map_err(failed)?;
            }
            if !taken {
                let detail = "as many negotiations alive as limits.per_owner allows";
                return Err(too_many(format_args!("{owner} has {detail}")));
            }
            if file.has_name().map_err(failed)? {
                let paused = passed?;
                return Ok(Self { file, directory, name, uid, backoff: config.backoff, paused });
            }
        }
        Err(failed(Errno::ESTALE))
    }

    fn remember(&self, outcome: &Outcome, tried: Option<&[u64]>) -> Option<()> {
        self.file.hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |file| {
            let text = match outcome {
                Outcome::Established { .. } => String::new(),
                // All credentials had failed before: no new failure. Without a pause, a worker may not report this.
                Outcome::Failed(failure) if failure.cause == Cause::Paused && self.paused.is_some() => return,
                Outcome::Failed(failure) => {
                    let what = LastFailure::of(failure, self.uid).with(tried.map(<[u64]>::to_vec));
                    let before = read(&self.file);
                    FailureRecord::after_failure(before, since_boot(), what, &self.backoff).to_string()
                }
            };
            overwrite(file, &text);
        })
    }

    /// Removes the file if it is empty and nobody else has a byte of it. Our own byte is released first, so that of two
    /// that close at the same time, the last removes the file.
    fn close(self) {
        self.file.release(&OWNER_FILE_BYTES);
        let empty = self.file.file().metadata().is_ok_and(|metadata| metadata.len() == 0);
        if empty {
            let _ = self.file.remove(self.directory.as_fd(), &self.name);
        }
    }
}

/// Whether the request may go on if its owner has a pause: because it breaks the pause, or to look for credentials that
/// have not failed. `None` without a pause.
///
/// # Errors
/// `Paused`; `Unpaused` if the request was to end the pause, and has.
fn pass_pause(file: &LockFile, request: UserRequest) -> Result<Option<Paused>, Failure> {
    let UserRequest { owner, uid, anew } = request;
    // Unguarded; text that is no record is just being written.
    if text(file).is_some_and(|text| is_without_pause(&text)) {
        return Ok(None);
    }
    let passed = file.hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |written| {
        let now = since_boot();
        let Some(record) = read(file) else { return Ok(None) };
        let Some(left) = record.pause_left(now) else { return Ok(None) };
        let (words, left) = (record.in_words(uid), tenths(left));
        let detail = format!("{owner}: {words}; paused for another {left}");
        let broken = record.break_pause(now).filter(|_| anew == OnPause::Break);
        if let Some(broken) = broken {
            overwrite(written, &broken.to_string());
            return Ok(None);
        }
        match anew {
            OnPause::EndOnly if record.forbids_anew(now) => Err(pause(detail)),
            OnPause::EndOnly => {
                overwrite(written, &record.without_pause(now).to_string());
                Err(unpaused(format_args!("{owner}: {words}; the pause has been ended, {left} early")))
            }
            OnPause::Break | OnPause::Respect => {
                let (tried, looking) = record.look(uid, now).ok_or_else(|| pause(detail.clone()))?;
                overwrite(written, &looking.to_string());
                Ok(Some(Paused { tried: Private::new(tried), detail }))
            }
        }
    });
    passed.unwrap_or_else(|| Err(pause(format!("{owner}: its record is busy"))))
}

fn is_without_pause(text: &str) -> bool {
    text.is_empty()
        || text.parse().is_ok_and(|record: FailureRecord| record.pause_left(since_boot()).is_none())
}

/// If this fails, the previous record stays. The file is never empty in between, which an unguarded reader would take
/// for no record.
fn overwrite(file: &File, text: &str) {
    let length = u64::try_from(text.len()).unwrap_or_default();
    let _ = file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(length));
}

fn pause(detail: String) -> Failure {
    Failure::new(Stage::Admit, Cause::Paused, detail)
}

fn unpaused(detail: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Admit, Cause::Unpaused, detail)
}

fn read(file: &LockFile) -> Option<FailureRecord> {
    text(file)?.parse().ok()
}

fn text(file: &LockFile) -> Option<String> {
    let mut buffer = vec![0; OWNER_RECORD_SIZE];
    let length = file.file().read_at(&mut buffer, 0).ok()?;
    buffer.truncate(length);
    String::from_utf8(buffer).ok()
}

/// Whether the record no longer affects its owner's next request.
pub(super) fn is_over(file: &LockFile, config: &Config) -> bool {
    read(file).is_none_or(|record| record.is_over(since_boot(), &config.backoff))
}

fn too_many(detail: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Admit, Cause::TooMany, detail)
}

/// Without counting nothing is served: a flood of requests would find the same hole.
fn broken(path: &Path, errno: Errno) -> Failure {
    Failure::new(Stage::Admit, Cause::Setup, format_args!("{}: {errno}", path.display()))
}

#[cfg(test)]
mod tests;
