//! Finds a hook's file and checks everything on the way to it (rule S14).
//!
//! Invariant: each name is looked up once, in a directory that is open and has been checked; from then on its descriptor stands for
//! it. Only root could have changed what was checked.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::failure::HookRefusal;
use crate::config::{HookName, Hooks};
use crate::sys::files::{LINK_LIMIT, reversed};

/// The widest mode, all bits counted that are no file type.
const WIDEST: u32 = 0o755;
const EXECUTE: u32 = 0o111;

/// The file of a hook, opened with O_PATH: every directory on the way, including those that links lead through, is root's with a
/// mode of 0755 or stricter, links are root's, and it is a regular file of the same kind that can be executed.
///
/// # Errors
/// [`HookRefusal`].
pub(super) fn verified(directory: &Path, name: &HookName) -> Result<OwnedFd, HookRefusal> {
    let mut walk = Walk { opened: Vec::new(), ahead: reversed(&directory.join(name.as_str())), links: 0 };
    while let Some(component) = walk.ahead.pop() {
        if let Some(file) = walk.step(&component)? {
            return Ok(file);
        }
    }
    // The path ended with a directory.
    Err(HookRefusal::NotRegular(walk.place()))
}

/// Whether a run would find a file that it may execute.
///
/// # Errors
/// [`HookRefusal`].
pub(crate) fn could_run(name: &HookName, hooks: &Hooks) -> Result<(), HookRefusal> {
    verified(&hooks.directory, name).map(drop)
}

/// A way through directories that are open.
struct Walk {
    /// The directories, the root first, each with its name.
    opened: Vec<(OwnedFd, PathBuf)>,
    /// Names still to be looked up, the next one last.
    ahead: Vec<PathBuf>,
    links: usize,
}

impl Walk {
    /// Where the walk is, for messages.
    fn place(&self) -> PathBuf {
        self.opened.iter().map(|(_, name)| name).collect()
    }

    /// Looks up one name. Returns the file when it has been reached.
    fn step(&mut self, name: &Path) -> Result<Option<OwnedFd>, HookRefusal> {
        if name == Path::new("..") {
            // The root is its own parent.
            if self.opened.len() > 1 {
                self.opened.pop();
            }
            return Ok(None);
        }
        if name == Path::new("/") {
            self.opened.clear();
        }
        let path = self.place().join(name);
        let found = self.open(name).map_err(|errno| match errno {
            Errno::ENOENT => HookRefusal::Missing(path.clone()),
            errno => HookRefusal::Open(path.clone(), errno),
        })?;
        let status = fstat(&found).map_err(|errno| HookRefusal::Open(path.clone(), errno))?;
        if status.st_uid != 0 {
            return Err(HookRefusal::Owner(path, status.st_uid));
        }
        match kind(&status) {
            SFlag::S_IFLNK => self.follow(&found, path).map(|()| None),
            SFlag::S_IFDIR => {
                check_mode(&status, path)?;
                self.opened.push((found, name.to_owned()));
                Ok(None)
            }
            _ if !self.ahead.is_empty() => Err(HookRefusal::NotDirectory(path)),
            SFlag::S_IFREG if status.st_mode & EXECUTE == 0 => Err(HookRefusal::NotExecutable(path)),
            SFlag::S_IFREG => check_mode(&status, path).map(|()| Some(found)),
            _ => Err(HookRefusal::NotRegular(path)),
        }
    }

    /// Opens nothing for reading: a fifo or a device is only looked at.
    fn open(&self, name: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match self.opened.last() {
            Some((directory, _)) => openat(directory.as_fd(), name, flags, Mode::empty()),
            None => openat(AT_FDCWD, name, flags, Mode::empty()),
        }
    }

    fn follow(&mut self, link: &OwnedFd, path: PathBuf) -> Result<(), HookRefusal> {
        self.links += 1;
        if self.links > LINK_LIMIT {
            return Err(HookRefusal::Links(path));
        }
        let target = readlinkat(link, OsStr::new("")).map_err(|errno| HookRefusal::Open(path, errno))?;
        self.ahead.extend(reversed(Path::new(&target)));
        Ok(())
    }
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

fn check_mode(status: &FileStat, path: PathBuf) -> Result<(), HookRefusal> {
    let mode = status.st_mode & !SFlag::S_IFMT.bits();
    if mode & !WIDEST == 0 { Ok(()) } else { Err(HookRefusal::Mode(path, mode)) }
}

#[cfg(test)]
mod tests;
