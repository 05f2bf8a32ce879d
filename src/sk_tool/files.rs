//! Key files: read in either form, and written so that no reader ever sees a part of one.
//!
//! Invariant: a file is complete on the disk before it has its name, and never written through a link.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, Gid, Uid, UnlinkatFlags, faccessat, fchown, linkat, unlinkat};
use zeroize::Zeroizing;

use super::signals::SignalsBlocked;
use crate::creds::shared_key::{LENGTH, SharedKey, SharedKeyError, TextFormError};
use crate::secret::Secret;
use crate::sys::files::unpredictable_name;
use crate::text::{quoted_path, shell_word};

/// Longer files are not read; the text form takes 3227 bytes.
const FILE_LIMIT: u64 = 16 * 1024;
/// Group may not read or write a file that is loaded, others may not write or execute it.
const CLOSED: u32 = 0o063;
const OTHERS_READ: u32 = 0o004;

/// Form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileForm {
    /// As in the keyring.
    Binary,
    /// A line that says what it is, and base64url.
    Text,
}

/// A key, and the file that it was read from.
#[derive(Debug)]
pub(super) struct KeyFile {
    /// What the file holds.
    pub key: SharedKey,
    /// What the file is.
    pub origin: FileOfKey,
}

/// A file that holds a key.
#[derive(Debug)]
pub(super) struct FileOfKey {
    /// Its name.
    pub path: PathBuf,
    /// Its form.
    pub form: FileForm,
    /// The uid and gid of its owner.
    pub owner: (u32, u32),
    mode: u32,
}

/// What becomes of a link in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    /// The file that it leads to is read.
    Followed,
    /// It is refused, because the file is going to be written.
    Refused,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {trouble}", quoted_path(.path))]
pub(super) struct KeyFileError {
    path: PathBuf,
    trouble: FileTrouble,
}

/// Why.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileTrouble {
    /// It cannot be opened or read.
    #[error("{0}")]
    Read(#[source] io::Error),
    /// It is a link where it is to be written.
    #[error("it is a symbolic link")]
    Link,
    /// It is something else than a file.
    #[error("it is not a regular file")]
    NotRegular,
    /// No key has so many bytes.
    #[error("it is no shared key: it has more than {FILE_LIMIT} bytes")]
    TooLong,
    /// Neither form.
    #[error("it is no shared key: for the binary form it has {0} bytes instead of {LENGTH}, and for the text form {no_line}", no_line = TextFormError::NoFirstLine)]
    NoForm(usize),
    /// The binary form, but broken.
    #[error("it is no shared key: {0}")]
    NoKey(#[source] SharedKeyError),
    /// The text form, but broken.
    #[error("it is no shared key: {0}")]
    NoText(#[source] TextFormError),
    /// Others can read or change it.
    #[error("its mode is {0:04o}: group may neither read nor write it, others neither write nor execute it")]
    Open(u32),
    /// A new file would replace it.
    #[error("it exists already")]
    Exists,
    /// The name of a directory.
    #[error("it is no name for a file")]
    NoName,
    /// It cannot be written.
    #[error("cannot be written: {}", .0.desc())]
    Write(Errno),
}

impl KeyFileError {
    fn new(path: &Path, trouble: FileTrouble) -> Self {
        Self { path: path.to_owned(), trouble }
    }

    /// What to try.
    pub(super) fn remedy(&self) -> Option<String> {
        let path = shell_word(&self.path);
        let remedy = match &self.trouble {
            FileTrouble::Read(error) if error.kind() == ErrorKind::PermissionDenied => {
                "the same as the file's owner, or as root: sudo lgss_sk …".to_owned()
            }
            FileTrouble::Open(_) => format!("chmod 0400 {path}"),
            FileTrouble::Link => format!("name the file that it leads to: readlink -f {path}"),
            FileTrouble::Exists => {
                "another name; or remove the file first, if no node needs its key".to_owned()
            }
            FileTrouble::TooLong
            | FileTrouble::NoForm(_)
            | FileTrouble::NoKey(_)
            | FileTrouble::NoText(_) => "copy the file anew from a node where lgss_sk -r shows it".to_owned(),
            FileTrouble::Write(Errno::EACCES | Errno::EPERM) => "as root: sudo lgss_sk …".to_owned(),
            FileTrouble::Write(Errno::ENOENT) => format!("mkdir -p {}", shell_word(directory(&self.path))),
            FileTrouble::Write(Errno::ENOSPC | Errno::EDQUOT) => {
                format!("make room: df {}", shell_word(directory(&self.path)))
            }
            _ => return None,
        };
        Some(remedy)
    }

    /// Whether a new file would have replaced one.
    pub(super) fn is_there_already(&self) -> bool {
        matches!(self.trouble, FileTrouble::Exists)
    }
}

impl KeyFile {
    /// Reads a key file in either form.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(super) fn read(path: &Path, link: LastLink) -> Result<Self, KeyFileError> {
        let fail = |trouble| KeyFileError::new(path, trouble);
        let file = open_to_read(path, link).map_err(fail)?;
        let metadata = file.metadata().map_err(|error| fail(FileTrouble::Read(error)))?;
        if !metadata.is_file() {
            return Err(fail(FileTrouble::NotRegular));
        }
        let content = content(file).map_err(fail)?;
        let (form, key) = match SharedKey::is_text(&content) {
            true => (FileForm::Text, SharedKey::from_text(&content).map_err(FileTrouble::NoText)),
            false => (FileForm::Binary, SharedKey::decode(&content).map_err(no_binary)),
        };
        let (mode, owner) = (metadata.mode() & 0o7777, (metadata.uid(), metadata.gid()));
        Ok(Self { key: key.map_err(fail)?, origin: FileOfKey { path: path.to_owned(), form, mode, owner } })
    }
}

impl FileOfKey {
    /// Whether the file's mode lets its key be loaded. Returns whether others can read it nevertheless, which Lustre allows.
    ///
    /// # Errors
    /// [`FileTrouble::Open`].
    pub(super) fn check_mode(&self) -> Result<bool, KeyFileError> {
        if self.mode & CLOSED != 0 {
            return Err(KeyFileError::new(&self.path, FileTrouble::Open(self.mode)));
        }
        Ok(self.mode & OTHERS_READ != 0)
    }

    /// Whether the file can be expected to be replaced, before work that takes long.
    ///
    /// # Errors
    /// [`FileTrouble::Write`].
    pub(super) fn check_replaceable(&self) -> Result<(), KeyFileError> {
        Place::of(&self.path)?.check_writable(&self.path)
    }

    /// Replaces the file by one with this key, for the same owner.
    ///
    /// # Errors
    /// [`FileTrouble::Write`], [`FileTrouble::Link`].
    pub(super) fn replace(&self, key: &SharedKey, form: FileForm) -> Result<(), KeyFileError> {
        let place = Place::of(&self.path)?;
        let new = place.written(key, form, Some(self.owner));
        new.and_then(Unnamed::replace)
            .map_err(|errno| KeyFileError::new(&self.path, FileTrouble::Write(errno)))
    }

    /// Writes a successor with this key to `path`, for the same owner and in the same form.
    ///
    /// # Errors
    /// As [`write_new`].
    pub(super) fn write_beside(&self, path: &Path, key: &SharedKey) -> Result<(), KeyFileError> {
        write(path, key, self.form, Some(self.owner))
    }
}

/// Writes a file that is not there yet.
///
/// # Errors
/// [`FileTrouble::Exists`], [`FileTrouble::Write`].
pub(super) fn write_new(path: &Path, key: &SharedKey, form: FileForm) -> Result<(), KeyFileError> {
    write(path, key, form, None)
}

/// Whether a new file can be expected to be written there, before work that takes long.
///
/// # Errors
/// [`FileTrouble::Exists`], [`FileTrouble::Write`] if there is no directory, or nothing can be written there.
pub(super) fn check_new(path: &Path) -> Result<(), KeyFileError> {
    let place = Place::of(path)?;
    match path.symlink_metadata() {
        Ok(_) => Err(KeyFileError::new(path, FileTrouble::Exists)),
        Err(_) => place.check_writable(path),
    }
}

fn write(
    path: &Path,
    key: &SharedKey,
    form: FileForm,
    owner: Option<(u32, u32)>,
) -> Result<(), KeyFileError> {
    let place = Place::of(path)?;
    place.written(key, form, owner).and_then(Unnamed::name).map_err(|errno| match errno {
        Errno::EEXIST => KeyFileError::new(path, FileTrouble::Exists),
        errno => KeyFileError::new(path, FileTrouble::Write(errno)),
    })
}

fn open_to_read(path: &Path, link: LastLink) -> Result<File, FileTrouble> {
    // A fifo in the place of the file must not hold us up.
    let mut flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    if link == LastLink::Refused {
        flags |= libc::O_NOFOLLOW;
    }
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let is_link = link == LastLink::Refused && error.raw_os_error() == Some(libc::ELOOP);
        if is_link { FileTrouble::Link } else { FileTrouble::Read(error) }
    })
}

/// A file that is not meant to be text is of the binary form only if it is as long as that.
fn no_binary(error: SharedKeyError) -> FileTrouble {
    match error {
        SharedKeyError::Length(length) => FileTrouble::NoForm(length),
        error => FileTrouble::NoKey(error),
    }
}

/// The content, in memory that is zeroed and does not grow.
fn content(file: File) -> Result<Zeroizing<Vec<u8>>, FileTrouble> {
    let capacity = usize::try_from(FILE_LIMIT).unwrap_or(0) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(capacity));
    let length = file.take(FILE_LIMIT + 1).read_to_end(&mut content).map_err(FileTrouble::Read)?;
    match u64::try_from(length).unwrap_or(u64::MAX) {
        length if length > FILE_LIMIT => Err(FileTrouble::TooLong),
        _ => Ok(content),
    }
}

/// A directory, and a name in it.
struct Place {
    directory: OwnedFd,
    name: PathBuf,
}

/// A file that does not have its name yet. It is removed unless it gets that; signals that would end the process wait.
struct Unnamed {
    place: Place,
    name: String,
    /// Until the file is removed: fields are dropped after that.
    _blocked: SignalsBlocked,
}

impl Place {
    fn of(path: &Path) -> Result<Self, KeyFileError> {
        let name = path.file_name().filter(|_| !path.as_os_str().as_encoded_bytes().ends_with(b"/"));
        let name = name.ok_or_else(|| KeyFileError::new(path, FileTrouble::NoName))?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = open(directory(path), flags, Mode::empty());
        let directory = opened.map_err(|errno| KeyFileError::new(path, FileTrouble::Write(errno)))?;
        Ok(Self { directory, name: name.into() })
    }

    /// Whether a file can be made there; `path` is named where not.
    fn check_writable(&self, path: &Path) -> Result<(), KeyFileError> {
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(&self.directory, ".", access, AtFlags::AT_EACCESS)
            .map_err(|errno| KeyFileError::new(path, FileTrouble::Write(errno)))
    }

    fn written(self, key: &SharedKey, form: FileForm, owner: Option<(u32, u32)>) -> Result<Unnamed, Errno> {
        let name = format!(".lgss_sk-{}", unpredictable_name()?);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let unnamed = Unnamed { place: self, name, _blocked: SignalsBlocked::now() };
        let (directory, name) = (&unnamed.place.directory, unnamed.name.as_str());
        let mut file = File::from(openat(directory, name, flags, Mode::S_IRUSR)?);
        let content: Secret = match form {
            FileForm::Binary => key.encode(),
            FileForm::Text => key.to_text(),
        };
        if let Some((uid, gid)) =
            owner.filter(|owner| file.metadata().is_ok_and(|is| (is.uid(), is.gid()) != *owner))
        {
            fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        let written = file.write_all(content.expose()).and_then(|()| file.sync_all());
        written.map_err(|error| crate::sys::errno::errno_of(&error))?;
        Ok(unnamed)
    }

    /// Makes the directory's entries permanent; a file system that cannot do so has nothing better.
    fn sync(&self) {
        let _ = nix::unistd::fsync(&self.directory);
    }
}

impl Unnamed {
    /// Gives the file its name, unless there is one with that name.
    fn name(self) -> Result<(), Errno> {
        let Place { directory, name } = &self.place;
        let renamed =
            renameat2(directory, self.name.as_str(), directory, name, RenameFlags::RENAME_NOREPLACE);
        match renamed {
            // File systems such as NFS cannot do this. The first name goes when this is dropped.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                linkat(directory, self.name.as_str(), directory, name, AtFlags::empty())?;
            }
            other => other?,
        }
        self.place.sync();
        Ok(())
    }

    /// Gives the file its name, in the place of the file that has it.
    fn replace(self) -> Result<(), Errno> {
        let Place { directory, name } = &self.place;
        nix::fcntl::renameat(directory, self.name.as_str(), directory, name)?;
        self.place.sync();
        Ok(())
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// The directory that a file is in.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
