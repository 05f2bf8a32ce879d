//! Notes that machine credentials are ready. A monitor leaves a note that the own cache has tickets for a server, until
//! when, and which files that depends on. While the note holds, the front instantiates a key for the machine at once.
//!
//! The place is fixed, since the front knows no settings: `/run/lgss/ready/<hash>`, a hash of the words that lead to
//! the credentials. A note gives nobody access: at worst a key is instantiated that then fails. Invariant: a note holds
//! only while everything that it depends on is unchanged.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::invocation::Invocation;
use crate::config::settings_file;
use crate::creds::ticket_keys::{self, TicketKeyName};
use crate::ctx::lustre::LustreCallout;
use crate::sys::errno::errno_of;
use crate::sys::files::{private_directory, remove_old, subdirectory};
use crate::time::now;

/// The directory above the notes, whatever `run_dir` is.
const RUN: &str = "/run/lgss";
const DIRECTORY: &str = "ready";
/// Longest note in bytes (krb5.conf may include many files).
const NOTE_SIZE_LIMIT: usize = 8192;
/// Age at which a note is removed.
const NOTE_AGE: Duration = Duration::from_secs(48 * 3600);
/// How long a ticket must still be good, in seconds.
const TICKET_MARGIN: u64 = 60;
/// How long a note holds at most, in seconds. Tickets for servers are seldom good for longer.
const LONGEST: u64 = 24 * 3600;

/// One note, by the name of its file.
#[derive(Debug)]
pub(super) struct Note(String);

impl Note {
    /// The note for requests like this one, from our own mount namespace.
    pub(super) fn of(invocation: &Invocation, callout: &LustreCallout) -> Self {
        let config = settings_file(invocation.config.as_deref());
        let file_system = callout.target.split_once('-').map_or("", |(name, _)| name);
        // Not a cryptographic hash, since the requester waits for it. A collision does no more harm than any wrong
        // note.
        let mut hash = DefaultHasher::new();
        (config, callout.roles, callout.server, callout.peer, callout.myself).hash(&mut hash);
        (file_system, &invocation.realm, callout.mechanism).hash(&mut hash);
        Self(format!("{:016x}", hash.finish()))
    }

    /// Whether there is a note, and everything is as it was.
    pub(super) fn holds(&self) -> bool {
        self.read().is_some_and(|text| holds(&text))
    }

    fn read(&self) -> Option<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let path = format!("{RUN}/{DIRECTORY}/{}", self.0);
        let file = open(path.as_str(), flags, Mode::empty()).ok()?;
        let status = fstat(file.as_fd()).ok()?;
        if status.st_uid != 0 || status.st_mode & 0o7_7022 != 0 {
            return None;
        }
        let mut buffer = [0; NOTE_SIZE_LIMIT];
        let length = File::from(file).read(&mut buffer).ok()?;
        std::str::from_utf8(buffer.get(..length)?).ok().map(str::to_owned)
    }

    /// Leaves a note that there are tickets until then, as long as `cache`, a file or a key, exists and the files are unchanged. If
    /// this fails, the next request takes the longer way.
    pub(super) fn leave(&self, until: u64, cache: &str, files: &[PathBuf]) {
        // A worker has said until when, and a front believes a note.
        let until = until.saturating_sub(TICKET_MARGIN).min(now() + LONGEST);
        let mut text = format!("{until}\n{cache}\n");
        for file in files {
            let _ = writeln!(text, "{} {}", identity(file), file.display());
        }
        if text.len() < NOTE_SIZE_LIMIT {
            let _ = self.write(&text);
        }
    }

    fn write(&self, text: &str) -> Result<(), Errno> {
        let opened = make_directory()?;
        remove_old(&directory(), NOTE_AGE);
        let new = format!("{}.{}.new", self.0, nix::unistd::getpid());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&opened, new.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let written = File::from(file)
            .write_all(text.as_bytes())
            .map_err(|error| errno_of(&error))
            .and_then(|()| renameat(&opened, new.as_str(), &opened, self.0.as_str()));
        if written.is_err() {
            let _ = unlinkat(&opened, new.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Removes the note after a failure.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(directory().join(&self.0));
    }
}

pub(super) fn holds(text: &str) -> bool {
    let mut lines = text.lines();
    let Some(until) = lines.next().and_then(|line| line.parse::<u64>().ok()) else { return false };
    now() < until
        && text.ends_with('\n')
        && lines.next().is_some_and(exists)
        && lines.all(|line| {
            line.split_once(' ').is_some_and(|(expected, path)| expected == identity(Path::new(path)))
        })
}

fn exists(cache: &str) -> bool {
    match TicketKeyName::read(cache) {
        Some(name) => ticket_keys::is_there(&name),
        None => Path::new(cache).exists(),
    }
}

/// A text that changes when the file does; `-` if there is none.
fn identity(file: &Path) -> String {
    match fs::metadata(file) {
        Ok(found) => format!(
            "{}.{}.{}.{}.{}.{}.{}",
            found.dev(),
            found.ino(),
            found.size(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec()
        ),
        Err(_) => "-".to_owned(),
    }
}

/// The directory of the notes.
pub(super) fn directory() -> PathBuf {
    Path::new(RUN).join(DIRECTORY)
}

/// Opens it, and makes it if it is missing, which a confined monitor cannot.
///
/// # Errors
/// EACCES if others than root could change it; those of mkdirat(2) and openat(2).
pub(super) fn make_directory() -> Result<OwnedFd, Errno> {
    let run = private_directory(Path::new(RUN)).map_err(|_| Errno::EACCES)?;
    subdirectory(run.as_fd(), DIRECTORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(until: u64, cache: &Path, file: &Path) -> String {
        format!("{until}\n{}\n{} {}\n", cache.display(), identity(file), file.display())
    }

    #[test]
    fn a_note_holds_until_its_time_or_a_change_of_what_it_depends_on() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, keytab) = (directory.path().join("cache"), directory.path().join("keytab"));
        fs::write(&cache, "tickets").unwrap();
        fs::write(&keytab, "keys").unwrap();
        let good = text(u64::MAX, &cache, &keytab);
        assert!(holds(&good) && !holds(&text(1, &cache, &keytab)));
        for broken in ["", "x", "99999999999\n", good.trim_end(), "99999999999\n/\nx\n"] {
            assert!(!holds(broken), "{broken}");
        }
        // The cache grows with each server.
        fs::write(&cache, "more tickets").unwrap();
        assert!(holds(&good));
        fs::write(&keytab, "keyz").unwrap();
        assert!(!holds(&good));
        let good = text(u64::MAX, &cache, &keytab);
        assert!(holds(&good));
        fs::remove_file(&keytab).unwrap();
        assert!(!holds(&good));
        let without = text(u64::MAX, &cache, &keytab);
        assert!(holds(&without));
        fs::remove_file(&cache).unwrap();
        assert!(!holds(&without));
    }

    #[test]
    fn a_note_about_tickets_in_keys_holds_as_long_as_the_keys() {
        let directory = tempfile::tempdir().unwrap();
        let keytab = directory.path().join("keytab");
        fs::write(&keytab, "keys").unwrap();
        let name = TicketKeyName::of(&directory.path().join("5e")).unwrap();
        let note = text(u64::MAX, Path::new(&name.to_string()), &keytab);
        assert!(!holds(&note));
        ticket_keys::StagedKeys::make(&name).unwrap().store(b"tickets", Duration::from_secs(60)).unwrap();
        assert!(holds(&note));
        fs::write(&keytab, "keyz").unwrap();
        assert!(!holds(&note));
        let note = text(u64::MAX, Path::new(&name.to_string()), &keytab);
        assert!(holds(&note));
        for key in ticket_keys::kept_below(directory.path()).unwrap() {
            key.drop_it().unwrap();
        }
        assert!(!holds(&note));
    }

    #[test]
    fn requests_that_other_tickets_are_needed_for_have_other_notes() {
        let note = |words: &str, callout: &str| {
            let words = format!("{words} create 1 lgssc 0@4 {callout} 0 0 0 0 0");
            let words = words.split_whitespace().map(std::ffi::OsString::from);
            let invocation = Invocation::parse(words).ok().unwrap();
            Note::of(&invocation, &callout.parse().unwrap()).0
        };
        let usual = "4:krb5:0:0:r:i:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:1:";
        let first = note("", usual);
        assert_eq!(
            first,
            note("", &usual.replace("MDT0000", "MDT0001").replace("4:krb5", "5:krb5").replace("0@4", "0@5"))
        );
        for other in [
            usual.replace(":r:i:1", ":m:i:1"),
            usual.replace(":i:1:", ":i:2:"),
            usual.replace("4d01", "4d02"),
            usual.replace("lustre-", "fast-"),
            usual.replace(":0x0:1", ":0x20000c0a84d09:1"),
        ] {
            assert_ne!(first, note("", &other), "{other}");
        }
        assert_ne!(first, note("-R OTHER", usual));
        assert_ne!(first, note("--config /c", usual));
    }
}
