//! Files whose bytes are locks (fcntl(2), open file description locks). A byte is held until it is released, or until every
//! descriptor of that opening is closed in this process and its forked children, however they end.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// All bytes that are used as locks.
const LOCK_BYTES: Range<u16> = 0..u16::MAX;
/// Pause between two tries to take a byte that somebody else holds.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// One opening of such a file.
#[derive(Debug)]
pub(crate) struct LockFile(File);

impl LockFile {
    /// Opens the file of this name in a directory that only root can change. Makes it if it is missing.
    ///
    /// # Errors
    /// Those of openat(2): ENOSPC if the file system is full.
    pub(crate) fn open(directory: BorrowedFd<'_>, name: &str) -> Result<Self, Errno> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from).map(Self)
    }

    /// Opens the file of this name if it exists.
    ///
    /// # Errors
    /// Those of openat(2): ENOENT.
    pub(crate) fn open_existing(directory: BorrowedFd<'_>, name: &str) -> Result<Self, Errno> {
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(directory, name, flags, Mode::empty()).map(File::from).map(Self)
    }

    /// The file, whose contents the locks do not protect by themselves.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Whether the file still has a name. It can be removed while nobody holds a byte.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub(crate) fn has_name(&self) -> Result<bool, Errno> {
        fstat(self.0.as_fd()).map(|status| status.st_nlink > 0)
    }

    /// Takes the bytes, all or none. Returns whether it did; not if somebody else holds one of them.
    ///
    /// # Errors
    /// ENOLCK.
    pub(crate) fn try_take(&self, bytes: &Range<u16>) -> Result<bool, Errno> {
        match self.set(libc::F_WRLCK, bytes) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Takes any one of the bytes. Returns whether one was free. Bytes that this opening already holds count as free.
    ///
    /// # Errors
    /// ENOLCK.
    pub(crate) fn try_take_any(&self, bytes: Range<u16>) -> Result<bool, Errno> {
        for byte in bytes {
            if self.try_take(&(byte..byte.saturating_add(1)))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs `action` while holding the bytes. `None` if they cannot be had by `deadline`.
    pub(crate) fn hold<T>(
        &self,
        bytes: &Range<u16>,
        deadline: Instant,
        action: impl FnOnce(&File) -> T,
    ) -> Option<T> {
        while !self.try_take(bytes).ok()? {
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(LOCK_PAUSE);
        }
        let result = action(&self.0);
        self.release(bytes);
        Some(result)
    }

    /// The same with a file that still has the name while the bytes are held. If somebody who held them has removed the file
    /// meanwhile, opens the name again.
    pub(crate) fn hold_named<T>(
        directory: BorrowedFd<'_>,
        name: &str,
        bytes: &Range<u16>,
        deadline: Instant,
        action: impl FnOnce(&File) -> T,
    ) -> Option<T> {
        let mut action = Some(action);
        loop {
            let file = Self::open(directory, name).ok()?;
            let act = |opened: &File| match file.has_name() {
                Ok(true) => action.take().map(|action| action(opened)),
                _ => None,
            };
            let done = file.hold(bytes, deadline, act)?;
            if done.is_some() || Instant::now() >= deadline {
                return done;
            }
        }
    }

    /// Removes the file by the name that it was opened by, unless somebody holds a byte of it. Returns whether it did. So
    /// everybody who opens such a file and takes bytes must then check that it still has a name.
    ///
    /// # Errors
    /// ENOLCK, and those of unlinkat(2).
    pub(crate) fn remove(&self, directory: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
        // By now the name may belong to another file that others use.
        if !self.try_take(&LOCK_BYTES)? || !self.has_name()? {
            return Ok(false);
        }
        unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
        Ok(true)
    }

    /// Releases the bytes.
    pub(crate) fn release(&self, bytes: &Range<u16>) {
        let _ = self.set(libc::F_UNLCK, bytes);
    }

    fn set(&self, kind: libc::c_int, bytes: &Range<u16>) -> Result<(), Errno> {
        let lock = libc::flock {
            l_type: libc::c_short::try_from(kind).map_err(|_| Errno::EINVAL)?,
            l_whence: libc::c_short::try_from(libc::SEEK_SET).map_err(|_| Errno::EINVAL)?,
            l_start: bytes.start.into(),
            l_len: bytes.end.saturating_sub(bytes.start).into(),
            l_pid: 0,
        };
        fcntl(self.0.as_fd(), FcntlArg::F_OFD_SETLK(&lock)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice() -> (tempfile::TempDir, LockFile, LockFile) {
        let directory = tempfile::tempdir().unwrap();
        let opened = File::open(directory.path()).unwrap();
        let open = || LockFile::open(opened.as_fd(), "locks").unwrap();
        let (one, other) = (open(), open());
        (directory, one, other)
    }

    #[test]
    fn a_byte_is_held_until_its_opening_is_closed() {
        let (_directory, one, other) = twice();
        assert!(one.try_take_any(1..3).unwrap() && other.try_take_any(1..3).unwrap());
        assert!(!other.try_take(&(1..2)).unwrap() && !one.try_take(&(2..3)).unwrap());
        drop(one);
        // A child that another test has forked may hold its copy for a moment.
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(other.hold(&(0..u16::MAX), deadline, |_| ()).is_some());
    }

    #[test]
    fn who_waits_for_a_byte_gives_up_at_the_deadline() {
        let (_directory, one, other) = twice();
        assert!(one.try_take(&(0..1)).unwrap());
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(other.hold(&(0..1), deadline, |_| ()).is_none() && Instant::now() >= deadline);
        assert_eq!(one.hold(&(0..1), deadline, |_| 7), Some(7));
        assert_eq!(other.hold(&(0..1), deadline, |_| 8), Some(8));
    }

    #[test]
    fn only_the_file_that_was_opened_is_removed_and_only_if_nobody_has_a_byte_of_it() {
        let (directory, one, other) = twice();
        let opened = File::open(directory.path()).unwrap();
        assert!(other.try_take(&(3..4)).unwrap());
        assert_eq!(one.remove(opened.as_fd(), "locks"), Ok(false));
        other.release(&(3..4));
        assert!(one.has_name().unwrap());
        assert_eq!(one.remove(opened.as_fd(), "locks"), Ok(true));
        assert!(!one.has_name().unwrap());
        drop(one);
        // Somebody has made a new file meanwhile and uses it.
        let new = LockFile::open(opened.as_fd(), "locks").unwrap();
        assert!(new.try_take(&(0..1)).unwrap());
        assert_eq!(other.remove(opened.as_fd(), "locks"), Ok(false));
        assert!(new.has_name().unwrap());
    }

    #[test]
    fn of_two_files_of_a_name_the_one_that_has_it_counts() {
        let (directory, one, other) = twice();
        let opened = File::open(directory.path()).unwrap();
        assert!(other.try_take(&(0..1)).unwrap());
        let holder = std::thread::scope(|scope| {
            let deadline = Instant::now() + Duration::from_secs(20);
            let directory = opened.as_fd();
            let waits = scope.spawn(move || {
                LockFile::hold_named(directory, "locks", &(0..1), deadline, |file| {
                    fstat(file).unwrap().st_ino
                })
            });
            thread::sleep(Duration::from_millis(20));
            unlinkat(&opened, "locks", UnlinkatFlags::NoRemoveDir).unwrap();
            drop((one, other));
            waits.join().unwrap()
        });
        let named = std::fs::metadata(directory.path().join("locks")).unwrap();
        assert_eq!(holder, Some(std::os::unix::fs::MetadataExt::ino(&named)));
    }
}
