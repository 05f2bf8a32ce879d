//! Whether the library would have to wait for another program that has a lock (fcntl(2)) or a lease on a cache.
//!
//! Checked before a file is read, because a call of the library cannot be aborted. Programs that read or write a
//! cache lock it for less than a millisecond, so there is a short grace, shared by all caches.

use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;

const CONTENTION_PAUSE: Duration = Duration::from_millis(5);

/// How much longer to wait for files to become free, in all.
#[derive(Debug)]
pub(super) struct Grace {
    /// For files that cannot be read.
    reading: Duration,
    /// For files that cannot be written.
    writing: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self { reading: Duration::from_millis(500), writing: Duration::from_millis(50) }
    }
}

/// How far a file can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usability {
    /// Everything.
    Free,
    /// Only reading; a writer would wait.
    Reading,
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// How far the file can be used, if necessary after a short wait.
pub(super) fn usability(file: &Path, grace: &mut Grace) -> Usability {
    loop {
        let found = look(file);
        let left = match found {
            Usability::Free => return found,
            Usability::Reading => &mut grace.writing,
            Usability::Nothing(_) => &mut grace.reading,
        };
        if left.is_zero() {
            return found;
        }
        *left = left.saturating_sub(CONTENTION_PAUSE);
        thread::sleep(CONTENTION_PAUSE);
    }
}

fn look(file: &Path) -> Usability {
    let opened = |access| {
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        open(file, flags, Mode::empty())
    };
    // Opening for writing conflicts with every lease, opening for reading with a write lease only.
    let (opened, written) = match opened(OFlag::O_RDWR) {
        Err(Errno::EWOULDBLOCK) => (opened(OFlag::O_RDONLY), Usability::Reading),
        Err(_) => (opened(OFlag::O_RDONLY), Usability::Free),
        file => (file, Usability::Free),
    };
    match opened {
        Ok(file) if is_locked(&file, libc::F_RDLCK) => Usability::Nothing("is locked by another program"),
        Ok(file) if is_locked(&file, libc::F_WRLCK) => Usability::Reading,
        Err(Errno::EWOULDBLOCK) => Usability::Nothing("is leased by another program"),
        // The library will report any error.
        Ok(_) | Err(_) => written,
    }
}

/// Whether another lock conflicts with a lock of this kind on the whole file.
fn is_locked(file: impl AsFd, kind: i32) -> bool {
    let mut lock = libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_ok() && i32::from(lock.l_type) != libc::F_UNLCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn lock(file: &File, kind: i32) {
        let lock = libc::flock {
            l_type: i16::try_from(kind).unwrap(),
            l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    }

    #[test]
    fn a_lock_of_another_opening_is_seen_and_its_kind_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut grace = Grace::default();
        assert_eq!(usability(file.path(), &mut grace), Usability::Free);
        lock(file.as_file(), libc::F_RDLCK);
        assert_eq!(usability(file.path(), &mut grace), Usability::Reading);
        lock(file.as_file(), libc::F_WRLCK);
        assert_eq!(usability(file.path(), &mut grace), Usability::Nothing("is locked by another program"));
        assert!(grace.reading.is_zero() && grace.writing.is_zero());
        lock(file.as_file(), libc::F_UNLCK);
        assert_eq!(usability(file.path(), &mut grace), Usability::Free);
        assert_eq!(usability(Path::new("/nowhere/at/all"), &mut grace), Usability::Free);
    }
}
