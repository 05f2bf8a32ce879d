//! Whether another program holds a cache so that the library would wait for it: by a lock (fcntl(2)), or by a lease.
//!
//! Asked before a file is read, because no call of the library's can be given up. Locks of programs that read or write the cache
//! last for less than a millisecond, so that there is a little patience, once for all caches.

use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;

const PAUSE: Duration = Duration::from_millis(5);

/// How long is waited in all until files are free.
#[derive(Debug)]
pub(super) struct Grace {
    /// For those that cannot be read.
    reading: Duration,
    /// For those that cannot be written.
    writing: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self { reading: Duration::from_millis(500), writing: Duration::from_millis(50) }
    }
}

/// What a file can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Everything.
    Free,
    /// To be read; who writes waits.
    Reading,
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// What can be done with the file, after a short wait if need be.
pub(super) fn of(file: &Path, grace: &mut Grace) -> Use {
    loop {
        let found = look(file);
        let left = match found {
            Use::Free => return found,
            Use::Reading => &mut grace.writing,
            Use::Nothing(_) => &mut grace.reading,
        };
        if left.is_zero() {
            return found;
        }
        *left = left.saturating_sub(PAUSE);
        thread::sleep(PAUSE);
    }
}

fn look(file: &Path) -> Use {
    let opened = |access| {
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        open(file, flags, Mode::empty())
    };
    // Who wants to write is in the way of every lease, who reads only of a writer's.
    let (opened, written) = match opened(OFlag::O_RDWR) {
        Err(Errno::EWOULDBLOCK) => (opened(OFlag::O_RDONLY), Use::Reading),
        Err(_) => (opened(OFlag::O_RDONLY), Use::Free),
        file => (file, Use::Free),
    };
    match opened {
        Ok(file) if is_locked(&file, libc::F_RDLCK) => Use::Nothing("is locked by another program"),
        Ok(file) if is_locked(&file, libc::F_WRLCK) => Use::Reading,
        Err(Errno::EWOULDBLOCK) => Use::Nothing("is leased by another program"),
        // What is wrong with it, the library will tell.
        Ok(_) | Err(_) => written,
    }
}

/// Whether somebody's lock is in the way of this kind of lock on the whole file.
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
        assert_eq!(of(file.path(), &mut grace), Use::Free);
        lock(file.as_file(), libc::F_RDLCK);
        assert_eq!(of(file.path(), &mut grace), Use::Reading);
        lock(file.as_file(), libc::F_WRLCK);
        assert_eq!(of(file.path(), &mut grace), Use::Nothing("is locked by another program"));
        assert!(grace.reading.is_zero() && grace.writing.is_zero());
        lock(file.as_file(), libc::F_UNLCK);
        assert_eq!(of(file.path(), &mut grace), Use::Free);
        assert_eq!(of(Path::new("/nowhere/at/all"), &mut grace), Use::Free);
    }
}
