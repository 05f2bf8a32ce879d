//! Where a file of a key is, or is going to be: its directory, opened once, and its name there. A path can lead elsewhere from
//! one look to the next, in a directory of somebody else's; this cannot.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::{AccessFlags, Gid, Uid, UnlinkatFlags, faccessat, fchown, fsync, linkat, unlinkat};

use crate::secret::Secret;
use crate::sys::errno::errno_of;
use crate::sys::files::unpredictable_name;
use crate::sys::signals::SignalsBlocked;

/// What becomes of a link in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    /// The file that it leads to is read.
    Followed,
    /// It is refused, because the file is going to be written.
    Refused,
}

/// A directory, and a name in it.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
    name: OsString,
}

/// A file that does not have its name yet. It is removed unless it gets that; signals that would end the process wait.
pub(super) struct Unnamed<'a> {
    place: &'a Place,
    name: String,
    /// Until the file is removed: fields are dropped after that.
    _blocked: SignalsBlocked,
}

impl Place {
    /// Opens the directory; `None` for a path that names no file.
    ///
    /// # Errors
    /// Those of open(2).
    pub(super) fn of(path: &Path) -> Result<Option<Self>, Errno> {
        let name = path.file_name().filter(|_| !path.as_os_str().as_encoded_bytes().ends_with(b"/"));
        let Some(name) = name else { return Ok(None) };
        let directory =
            open(directory(path), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Some(Self { directory, name: name.to_owned() }))
    }

    /// The place in the same directory whose name has this at its end.
    ///
    /// # Errors
    /// Those of dup(2).
    pub(super) fn beside(&self, suffix: &str) -> Result<Self, Errno> {
        let directory = self.directory.try_clone().map_err(|error| errno_of(&error))?;
        let mut name = self.name.clone();
        name.push(suffix);
        Ok(Self { directory, name })
    }

    /// Opens the file to read it. A fifo in its place does not hold us up.
    ///
    /// # Errors
    /// Those of openat(2).
    pub(super) fn open_file(&self, link: LastLink) -> Result<File, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let flags = if link == LastLink::Refused { flags | OFlag::O_NOFOLLOW } else { flags };
        openat(&self.directory, self.name.as_os_str(), flags, Mode::empty()).map(File::from)
    }

    /// Whether nothing has the name.
    pub(super) fn is_free(&self) -> bool {
        self.status() == Err(Errno::ENOENT)
    }

    /// Whether this file has the name.
    pub(super) fn holds(&self, file: &File) -> bool {
        let (named, opened) = (self.status(), file.metadata());
        named.is_ok_and(|named| opened.is_ok_and(|is| (is.dev(), is.ino()) == (named.st_dev, named.st_ino)))
    }

    fn status(&self) -> Result<FileStat, Errno> {
        fstatat(&self.directory, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// Whether a file can be made here.
    ///
    /// # Errors
    /// Those of faccessat(2).
    pub(super) fn check_writable(&self) -> Result<(), Errno> {
        faccessat(&self.directory, ".", AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
    }

    /// Writes a file that has no name yet, for this owner or for the caller.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn written(&self, content: &Secret, owner: Option<(u32, u32)>) -> Result<Unnamed<'_>, Errno> {
        let name = format!(".lgss_sk-{}", unpredictable_name()?);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let unnamed = Unnamed { place: self, name, _blocked: SignalsBlocked::now() };
        let mut file = File::from(openat(&self.directory, unnamed.name.as_str(), flags, Mode::S_IRUSR)?);
        if let Some((uid, gid)) =
            owner.filter(|owner| file.metadata().is_ok_and(|is| (is.uid(), is.gid()) != *owner))
        {
            fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        let written = file.write_all(content.expose()).and_then(|()| file.sync_all());
        written.map_err(|error| errno_of(&error))?;
        Ok(unnamed)
    }

    /// Removes the file.
    pub(super) fn remove(&self) {
        let _ = unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }

    /// Makes the directory's entries permanent; a file system that cannot do so has nothing better.
    fn sync(&self) {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let _ = openat(&self.directory, ".", flags, Mode::empty()).and_then(fsync);
    }
}

impl Unnamed<'_> {
    /// Gives the file its name, unless there is one with that name.
    ///
    /// # Errors
    /// Those of renameat2(2): EEXIST.
    pub(super) fn name(self) -> Result<(), Errno> {
        let Place { directory, name } = self.place;
        let renamed = renameat2(
            directory,
            self.name.as_str(),
            directory,
            name.as_os_str(),
            RenameFlags::RENAME_NOREPLACE,
        );
        match renamed {
            // File systems such as NFS cannot do this. The first name goes when this is dropped.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                linkat(directory, self.name.as_str(), directory, name.as_os_str(), AtFlags::empty())?;
            }
            other => other?,
        }
        self.place.sync();
        Ok(())
    }

    /// Gives the file its name, in the place of the file that has it.
    ///
    /// # Errors
    /// Those of renameat(2).
    pub(super) fn replace(self) -> Result<(), Errno> {
        let Place { directory, name } = self.place;
        renameat(directory, self.name.as_str(), directory, name.as_os_str())?;
        self.place.sync();
        Ok(())
    }
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// The directory that a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != OsStr::new("")).unwrap_or(Path::new("."))
}
