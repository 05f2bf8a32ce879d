//! Recent failures of Lustre's requests, kept below the run directory (rule S8). They damp a loop of requests by the
//! kernel, save an access from waiting twice for a silent KDC or server, and keep the log from filling up with one
//! failure.
//!
//! Used by the monitor. The cause is never hidden: a request that is rejected during a pause gets the failure that led
//! to it. A mount is always served; a success ends the pause. Without these files everything is tried each time.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::backoff::{FailureRecord, LastFailure};
use crate::config::{Backoff, Config, Seconds};
use crate::ctx::lustre::LustreCallout;
use crate::event::{Cause, Failure, Stage};
use crate::sys::files::{self, private_directory};
use crate::sys::locks::LockFile;
use crate::time::{since_boot, tenths};

const MEMORY_GUARD: std::ops::Range<u16> = 0..1;
/// Longest wait for a file, which others hold for a few system calls.
const MEMORY_GUARD_WAIT: Duration = Duration::from_millis(200);
const MEMORY_SIZE_LIMIT: usize = 8192;
/// Age at which a file no longer matters.
pub(super) const MEMORY_AGE: Duration = Duration::from_secs(3600);
/// How many lines about one failure are written before there are only summaries.
const LINES_BEFORE_SUMMARY: u32 = 5;
/// Interval of summaries.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// The kernel asks twice in a row for one access. The pause is short, so that a person who tries again later does not
/// get the old failure.
fn of_silence(longest: Seconds) -> Backoff {
    Backoff { after: 0, first: Seconds::of(5), longest: longest.max(Seconds::of(5)) }
}

/// Whether nobody answered, which was slow and would be again.
fn is_silence(cause: Cause) -> bool {
    matches!(cause, Cause::NameServiceSilent | Cause::KdcSilent | Cause::ServerSilent | Cause::Deadline)
}

/// Whether the cause lies with credentials, KDC or server, not with this program or a single request.
fn is_lasting(cause: Cause) -> bool {
    use Cause::{KeyGone, LibraryFault, Paused, Quota, Refused, Setup, TooMany, Unpaused, WorkerFault};
    !matches!(
        cause,
        KeyGone | LibraryFault | Paused | Quota | Refused | Setup | TooMany | Unpaused | WorkerFault
    )
}

/// Which failures are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All lasting ones.
    All,
    /// Silence only.
    Silence,
}

/// The recent failures of one kind of request.
#[derive(Debug)]
pub(super) struct FailureMemory {
    directory: OwnedFd,
    name: String,
    scope: Scope,
    backoff: Backoff,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RememberedFailure {
    record: String,
    failure: Failure,
}

impl FailureMemory {
    /// Opens it in `directory` below the run directory; `None` if that is impossible.
    pub(super) fn open(config: &Config, directory: &str, name: String, scope: Scope) -> Option<Self> {
        let run = private_directory(&config.run_dir).ok()?;
        let directory = files::subdirectory(run.as_fd(), directory).ok()?;
        Some(Self { directory, name, scope, backoff: config.backoff })
    }

    /// For a user's requests for one Lustre target, over one of its connections.
    pub(super) fn of_user(config: &Config, callout: &LustreCallout) -> Option<Self> {
        let LustreCallout { uid, secid, ref target, .. } = *callout;
        Self::open(config, "failures", users_name(uid, secid, target), Scope::Silence)
    }

    /// The failure to return at once, if it is too early to try again.
    pub(super) fn pause(&self) -> Option<Failure> {
        let file = openat_existing(&self.directory, &self.name)?;
        let RememberedFailure { record, failure } = read(file.file())?;
        let left = record.parse::<FailureRecord>().ok()?.pause_left(since_boot())?;
        let detail = format_args!("{} (not tried again for {})", failure.detail, tenths(left));
        Some(Failure::new(failure.stage, failure.cause, detail).with_gss_major(failure.gss_major))
    }

    /// Remembers a failure, if it is lasting and in scope.
    pub(super) fn failed(&self, failure: &Failure) {
        let silent = is_silence(failure.cause);
        if !is_lasting(failure.cause) || (self.scope == Scope::Silence && !silent) {
            return;
        }
        let backoff = if silent { of_silence(self.backoff.longest) } else { self.backoff };
        let (directory, deadline) = (self.directory.as_fd(), Instant::now() + MEMORY_GUARD_WAIT);
        let _ = LockFile::hold_named(directory, &self.name, &MEMORY_GUARD, deadline, |file| {
            let before = read::<RememberedFailure>(file).and_then(|entry| entry.record.parse().ok());
            // The full failure is stored beside the record.
            let what = LastFailure::named(failure);
            let record = FailureRecord::after_failure(before, since_boot(), what, &backoff).to_string();
            write(file, &RememberedFailure { record, failure: failure.clone() });
        });
    }

    /// Forgets all failures.
    pub(super) fn succeeded(&self) {
        let _ = unlinkat(self.directory.as_fd(), self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// How much of a failure is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogAmount {
    /// Its line.
    All,
    /// Its line, with the number of such failures and the seconds in which they occurred.
    Times(u32, u64),
    /// Nothing: lines have been written, and a summary will be.
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LineCount {
    /// Time of the last line, in milliseconds since the machine was started.
    #[serde(rename = "told")]
    last_line: u64,
    /// Time of the last failure.
    last: u64,
    /// Failures since the last line.
    since: u32,
    /// Number of lines so far.
    lines: u32,
}

/// Counts a failure of a request for the machine that is no mount. Failures that are about a server are counted for
/// each target.
pub(super) fn say(config: &Config, failure: &Failure, target: &str) -> LogAmount {
    let of_target = match failure.stage {
        Stage::Resolve | Stage::Connect | Stage::Negotiate | Stage::Publish => true,
        _ => matches!(failure.cause, Cause::UnknownService | Cause::ServiceClosed | Cause::EncryptionType),
    };
    let target = if of_target { target } else { "" };
    let name = format!("told.{}", hashed(&format!("{:?} {:?} {target}", failure.stage, failure.cause)));
    let counted = private_directory(&config.run_dir).ok().and_then(|run| {
        let directory = files::subdirectory(run.as_fd(), "failures").ok()?;
        let deadline = Instant::now() + MEMORY_GUARD_WAIT;
        LockFile::hold_named(directory.as_fd(), &name, &MEMORY_GUARD, deadline, |file| {
            let (told, say) = count(read(file), since_boot());
            write(file, &told);
            say
        })
    });
    counted.unwrap_or(LogAmount::All)
}

pub(super) fn count(before: Option<LineCount>, now: Duration) -> (LineCount, LogAmount) {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (now, pause) = (milliseconds(now), milliseconds(SUMMARY_INTERVAL));
    match before {
        Some(before) if now.saturating_sub(before.last) < pause && before.last <= now => {
            let (since, lines) = (before.since.saturating_add(1), before.lines.saturating_add(1));
            if lines <= LINES_BEFORE_SUMMARY {
                (LineCount { last_line: now, last: now, since: 0, lines }, LogAmount::All)
            } else if now.saturating_sub(before.last_line) < pause {
                (LineCount { last: now, since, ..before }, LogAmount::Nothing)
            } else {
                let say = LogAmount::Times(since, now.saturating_sub(before.last_line) / 1000);
                (LineCount { last_line: now, last: now, since: 0, lines }, say)
            }
        }
        _ => (LineCount { last_line: now, last: now, since: 0, lines: 1 }, LogAmount::All),
    }
}

fn users_name(uid: u32, secid: u32, target: &str) -> String {
    format!("{uid}.{secid:x}.{}", hashed(target))
}

fn hashed(text: &str) -> String {
    Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn openat_existing(directory: &OwnedFd, name: &str) -> Option<LockFile> {
    LockFile::open_existing(directory.as_fd(), name).ok()
}

fn read<T: for<'de> Deserialize<'de>>(file: &File) -> Option<T> {
    let mut buffer = [0; MEMORY_SIZE_LIMIT];
    let length = file.read_at(&mut buffer, 0).ok()?;
    serde_json::from_slice(buffer.get(..length)?).ok()
}

/// Overwrites the rest of a longer text with blanks; to truncate it first would leave an empty file, which reads as no
/// failure.
fn write(file: &File, content: &impl Serialize) {
    let mut text = serde_json::to_vec(content).unwrap_or_default();
    let before = file.metadata().map_or(0, |metadata| metadata.len());
    let length = usize::try_from(before).unwrap_or_default().min(MEMORY_SIZE_LIMIT);
    text.resize(text.len().max(length), b' ');
    let _ = file.write_all_at(&text, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(directory: &tempfile::TempDir, name: &str, scope: Scope) -> FailureMemory {
        let directory = std::fs::File::open(directory.path()).unwrap().into();
        FailureMemory { directory, name: name.to_owned(), scope, backoff: Backoff::default() }
    }

    fn failure(cause: Cause) -> Failure {
        Failure::new(Stage::Kdc, cause, "no answer")
    }

    #[test]
    fn silence_is_remembered_with_its_cause_and_nothing_else_of_a_users() {
        let directory = tempfile::tempdir().unwrap();
        let of_user = |uid, target| memory(&directory, &users_name(uid, 4, target), Scope::Silence);
        let memory = || of_user(1000, "lustre-MDT0000");
        assert!(memory().pause().is_none());
        memory().failed(&failure(Cause::NoTicket));
        assert!(memory().pause().is_none());
        memory().failed(&failure(Cause::KdcSilent));
        let again = memory().pause().unwrap();
        assert_eq!((again.stage, again.cause), (Stage::Kdc, Cause::KdcSilent));
        // Of five seconds; a busy machine may have taken some.
        let left = again.detail.strip_prefix("no answer (not tried again for ").unwrap();
        assert!(["5.0", "4.", "3.", "2."].iter().any(|time| left.starts_with(time)), "{left}");
        for other in [(1001, "lustre-MDT0000"), (1000, "lustre-OST0000")] {
            assert!(of_user(other.0, other.1).pause().is_none());
        }
        memory().succeeded();
        assert!(memory().pause().is_none());
        memory().failed(&failure(Cause::NameServiceSilent));
        assert_eq!(memory().pause().unwrap().cause, Cause::NameServiceSilent);
    }

    #[test]
    fn the_machines_failures_are_damped_after_some_and_keep_their_cause() {
        let directory = tempfile::tempdir().unwrap();
        let memory = memory(&directory, "a.failed", Scope::All);
        for _ in 0..memory.backoff.after {
            memory.failed(&failure(Cause::KeytabRefused));
            assert!(memory.pause().is_none());
        }
        memory.failed(&failure(Cause::Setup));
        assert!(memory.pause().is_none());
        memory.failed(&failure(Cause::KeytabRefused));
        assert_eq!(memory.pause().unwrap().cause, Cause::KeytabRefused);
    }

    #[test]
    fn a_shorter_text_takes_the_place_of_a_longer_one() {
        let file = tempfile::tempfile().unwrap();
        write(&file, &"one that is longer");
        write(&file, &"short");
        assert_eq!(read(&file), Some("short".to_owned()));
    }

    #[test]
    fn a_loop_is_told_some_times_and_then_once_a_minute() {
        let at = |half_seconds: u32| Duration::from_secs(1000) + Duration::from_millis(500) * half_seconds;
        let (mut told, mut said) = (None, Vec::new());
        for half_seconds in 0..300 {
            let (next, say) = count(told, at(half_seconds));
            told = Some(next);
            said.extend(Some(say).filter(|say| *say != LogAmount::Nothing));
        }
        let (lines, summaries) = said.split_at(5);
        assert_eq!(lines, [LogAmount::All; 5]);
        assert_eq!(summaries, [LogAmount::Times(120, 60), LogAmount::Times(120, 60)]);
        // After a quiet minute it is news.
        assert_eq!(count(told, at(300 + 121)).1, LogAmount::All);
    }
}
