//! Room for one more negotiation (rule S8): a locked byte in the file of the pool, and for users one in the file of
//! their owner as well. Locks end with their holder, however it ends.
//!
//! Below the run directory, which is root's alone: `slots/users`, `slots/machine`, `slots/kernel` and `owners/<owner>`.
//! An owner's file also holds the record of its failures and is removed when there is nothing in it and nobody uses it.

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
use crate::config::{Backoff, Config, Limits};
use crate::ctx::request::{Anew, NO_PAUSE};
use crate::event::{Cause, Failure, Stage};
use crate::identity::counted_owner::CountedOwner;
use crate::negotiate::messages::Paused;
use crate::sys::files::{self, private_directory};
use crate::sys::locks::LockFile;
use crate::time::since_boot;

/// The byte of an owner's file that guards its record; its slots come after it.
const OWNER_RECORD: Range<u16> = 0..1;
/// All bytes of an owner's file.
const WHOLE_FILE: Range<u16> = 0..u16::MAX;
/// Longest wait for the record: others hold it for a few system calls.
const OWNER_RECORD_WAIT: Duration = Duration::from_millis(200);
/// Longest record in bytes.
const OWNER_RECORD_SIZE: usize = 2048;
/// Between two looks for a free slot.
const SLOT_PAUSE: Duration = Duration::from_millis(5);
/// A file that is removed while it is opened is opened again; more often than so something is wrong.
const OPENINGS: usize = 16;

/// Who wants to negotiate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claimant<'a> {
    /// A program of a user, in that user namespace.
    User(u32, BorrowedFd<'a>, Anew),
    /// A program of root's.
    Machine(Anew),
    /// Lustre, for a user.
    LustreUser,
    /// Lustre, for this machine.
    LustreMachine,
}

/// Room for one negotiation, until [`Slot::give_back`].
#[derive(Debug)]
pub(super) struct Slot {
    /// Root has none: its pool is all that counts.
    owner_slot: Option<OwnerSlot>,
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
        let (uid, user_namespace, anew) = match claimant {
            Claimant::User(uid, namespace, anew) => (uid, namespace, anew),
            Claimant::Machine(Anew::Only) => return Err(unpaused(NO_PAUSE)),
            Claimant::Machine(_) => {
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
        let owner =
            CountedOwner::of(user_namespace, uid).map_err(|errno| broken(Path::new("ns/user"), errno))?;
        let owner_slot = OwnerSlot::open(below(&run, config, "owners")?, owner, (uid, anew), config)?;
        let full = "all users together have as many negotiations alive as limits.users allows";
        match pool(&pools, config, ("users", users, full)) {
            Ok(pool) => Ok(Self { owner_slot: Some(owner_slot), _pool: pool }),
            Err(failure) => {
                owner_slot.close();
                Err(failure)
            }
        }
    }

    fn of_pool(pools: &OwnedFd, config: &Config, which: Pool, deadline: Instant) -> Result<Self, Failure> {
        loop {
            match pool(pools, config, which) {
                Ok(pool) => return Ok(Self { owner_slot: None, _pool: pool }),
                Err(full) if full.cause != Cause::TooMany || Instant::now() >= deadline => return Err(full),
                Err(_) => thread::sleep(SLOT_PAUSE),
            }
        }
    }

    /// The pause of its owner, in which only other credentials than those that have failed are worth a try.
    pub(super) fn paused(&self) -> Option<&Paused> {
        self.owner_slot.as_ref()?.paused.as_ref()
    }

    /// Counts a failure with these credentials, or ends the row of them. If the record cannot be written, there will be
    /// no pause.
    pub(super) fn remember(&self, outcome: &Outcome, tried: Option<&[u64]>) {
        if let Some(owner_slot) = &self.owner_slot {
            let _ = owner_slot.remember(outcome, tried);
        }
    }

    /// Makes room for another.
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
struct OwnerSlot {
    file: LockFile,
    directory: OwnedFd,
    name: String,
    uid: u32,
    backoff: Backoff,
    paused: Option<Paused>,
}

impl OwnerSlot {
    fn open(
        directory: OwnedFd,
        owner: CountedOwner,
        (uid, anew): (u32, Anew),
        config: &Config,
    ) -> Result<Self, Failure> {
        let name = owner.file_name();
        let failed = |errno| broken(&config.run_dir.join("owners").join(owner.file_name()), errno);
        let slots = 1..config.limits.per_owner.saturating_add(1);
        for _ in 0..OPENINGS {
            let file = LockFile::open(directory.as_fd(), &name).map_err(failed)?;
            let passed = pass_pause(&file, (&owner, uid), anew);
            if let (Anew::Only, _) | (_, Err(_)) = (anew, &passed) {
                let owner_slot = Self { file, directory, name, uid, backoff: config.backoff, paused: None };
                owner_slot.close();
                return Err(passed.err().unwrap_or_else(|| unpaused(NO_PAUSE)));
            }
            let mut taken = file.try_take_any(slots.clone()).map_err(failed)?;
            if !taken {
                // Whoever removes the file holds all of it for a moment.
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
                // It was seen that there is nothing to try. Without a pause that is no word for a worker to say.
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

    /// Removes the file if nothing is in it and nobody else has a byte of it. Our own is let go before: of two who
    /// close at the same time, the last one finds nobody else.
    fn close(self) {
        self.file.release(&WHOLE_FILE);
        let empty = self.file.file().metadata().is_ok_and(|metadata| metadata.len() == 0);
        if empty {
            let _ = self.file.remove(self.directory.as_fd(), &self.name);
        }
    }
}

/// Whether the request may go on in a pause, if there is one: to end it, in spite of it, or to see whether there are
/// credentials that have not failed.
fn pass_pause(
    file: &LockFile,
    (owner, uid): (&CountedOwner, u32),
    anew: Anew,
) -> Result<Option<Paused>, Failure> {
    // Unguarded: what cannot be read is being written.
    if text(file).is_some_and(|text| is_without_pause(&text)) {
        return Ok(None);
    }
    let passed = file.hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |written| {
        let now = since_boot();
        let Some(record) = read(file) else { return Ok(None) };
        let Some(left) = record.pause_left(now) else { return Ok(None) };
        let (words, seconds) = (record.in_words(uid), left.as_secs_f32());
        let detail = format!("{owner}: {words}; paused for another {seconds:.1} s");
        let broken = record.break_pause(now).filter(|_| anew == Anew::Now);
        if let Some(broken) = broken {
            overwrite(written, &broken.to_string());
            return Ok(None);
        }
        match anew {
            Anew::Only if record.forbids_anew(now) => Err(pause(detail)),
            Anew::Only => {
                overwrite(written, &record.without_pause(now).to_string());
                Err(unpaused(format_args!(
                    "{owner}: {words}; the pause has been ended, {seconds:.1} s early"
                )))
            }
            Anew::Now | Anew::Usual => {
                let (tried, looking) = record.look(uid, now).ok_or_else(|| pause(detail.clone()))?;
                overwrite(written, &looking.to_string());
                Ok(Some(Paused { tried, detail }))
            }
        }
    });
    passed.unwrap_or_else(|| Err(pause(format!("{owner}: its record is busy"))))
}

fn is_without_pause(text: &str) -> bool {
    text.is_empty()
        || text.parse().is_ok_and(|record: FailureRecord| record.pause_left(since_boot()).is_none())
}

/// A record that cannot be written leaves the one before. The file is never empty in between: whoever reads it unguarded
/// would take that for no record.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_speaks_of_a_pause_where_there_is_none_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let remembered = |paused| {
            let opened = File::open(directory.path()).unwrap().into();
            let owner_slot =
                OwnerSlot::open(opened, CountedOwner::User(7), (7, Anew::Usual), &Config::default()).unwrap();
            let owner_slot = OwnerSlot { paused, ..owner_slot };
            owner_slot.remember(&Outcome::Failed(pause("of its own".to_owned())), None).unwrap();
            read(&owner_slot.file).is_some()
        };
        assert!(!remembered(Some(Paused { tried: Vec::new(), detail: String::new() })));
        assert!(remembered(None));
    }
    /// Others write looks into it meanwhile, as every request does that is turned away.
    #[test]
    fn a_record_that_is_being_written_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let opened: OwnedFd = File::open(directory.path()).unwrap().into();
        let open = || LockFile::open(opened.as_fd(), "1000").unwrap();
        let failure = Failure::new(Stage::Credentials, Cause::NoTicket, "no ticket");
        let backoff = Backoff { after: 0, ..Config::default().backoff };
        let what = LastFailure::of(&failure, 1000).with(Some(vec![7]));
        let record =
            FailureRecord::after_failure(None, since_boot() + Duration::from_secs(3600), what, &backoff);
        let writer = open();
        writer
            .hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |file| {
                overwrite(file, &record.to_string())
            })
            .unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    writer.hold(&OWNER_RECORD, Instant::now() + OWNER_RECORD_WAIT, |file| {
                        overwrite(file, &record.to_string());
                    });
                }
            });
            let reader = open();
            let passes = || text(&reader).is_some_and(|text| is_without_pause(&text));
            let passed = (0..100_000).filter(|_| passes()).count();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(passed, 0, "so many were let through in a pause");
        });
    }
}
