//! Key files: read in either form, and written so that no reader ever sees a part of one.
//!
//! Invariant: a file is complete on the disk before it has its name, and never written through a link. It is written in
//! the directory in which the former one was read, and in the place of that one only, whatever has become of its path.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::file_trouble::{FILE_LIMIT, FileTrouble, KeyFileError, STANDARD_INPUT};
use super::place::{LastLink, Place, Unnamed};
use crate::creds::shared_key::{SharedKey, SharedKeyError};
use crate::secret::Secret;

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
    place: Place,
    /// While it is open, no other file has its inode.
    file: File,
}

/// A file that is not there yet.
#[derive(Debug)]
pub(super) struct NewFile {
    /// Its name.
    pub path: PathBuf,
    place: Place,
}

impl KeyFile {
    /// Reads a key file in either form.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(super) fn read(path: &Path, link: LastLink) -> Result<Self, KeyFileError> {
        let fail = |trouble| KeyFileError::new(path, trouble);
        let unreadable = |error: io::Error| fail(FileTrouble::Read(error));
        let place = Place::of(path).map_err(|errno| unreadable(errno.into()))?;
        let place = place.ok_or_else(|| fail(FileTrouble::NotRegular))?;
        let file = place.open_file(link).map_err(|errno| match (link, errno) {
            (LastLink::Refused, Errno::ELOOP) => fail(FileTrouble::Link),
            (_, errno) => unreadable(errno.into()),
        })?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(fail(FileTrouble::NotRegular));
        }
        let (form, key) = key_of(&file).map_err(fail)?;
        let origin = FileOfKey {
            path: path.to_owned(),
            form,
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            place,
            file,
        };
        Ok(Self { key, origin })
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

    /// Whether the file itself has the name, and not a link that leads to it.
    ///
    /// # Errors
    /// [`FileTrouble::Link`].
    pub(super) fn check_is_no_link(&self) -> Result<(), KeyFileError> {
        match self.place.holds(&self.file) {
            true => Ok(()),
            false => Err(KeyFileError::new(&self.path, FileTrouble::Link)),
        }
    }

    /// Whether the file can be expected to be replaced, before work that takes long.
    ///
    /// # Errors
    /// [`FileTrouble::Write`].
    pub(super) fn check_replaceable(&self) -> Result<(), KeyFileError> {
        self.place.check_writable().map_err(|errno| KeyFileError::new(&self.path, FileTrouble::Write(errno)))
    }

    /// Replaces the file, if it is still the one that was read, by one with this key, for the same owner.
    ///
    /// # Errors
    /// [`FileTrouble::Changed`], [`FileTrouble::Write`].
    pub(super) fn replace(&self, key: &SharedKey, form: FileForm) -> Result<(), KeyFileError> {
        let fail = |trouble| KeyFileError::new(&self.path, trouble);
        let content = encoded(key, form);
        let new = self.place.written(&content, Some(self.owner));
        let new = new.map_err(|errno| fail(FileTrouble::Write(errno)))?;
        if !self.place.holds(&self.file) {
            return Err(fail(FileTrouble::Changed));
        }
        new.replace().map_err(|errno| fail(FileTrouble::Write(errno)))
    }

    /// The file with this after its name, in the same directory.
    ///
    /// # Errors
    /// As [`NewFile::at`].
    pub(super) fn beside(&self, suffix: &str) -> Result<NewFile, KeyFileError> {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        let path = PathBuf::from(path);
        match self.place.beside(suffix) {
            Ok(place) => NewFile { path, place }.checked(),
            Err(errno) => Err(KeyFileError::new(&path, FileTrouble::Write(errno))),
        }
    }
}

impl NewFile {
    /// A file that can be expected to be written there: found out before work that takes long.
    ///
    /// # Errors
    /// [`FileTrouble::Exists`], [`FileTrouble::Write`] if there is no directory, or nothing can be written there.
    pub(super) fn at(path: &Path) -> Result<Self, KeyFileError> {
        let fail = |trouble| KeyFileError::new(path, trouble);
        let place = Place::of(path).map_err(|errno| fail(FileTrouble::Write(errno)))?;
        let place = place.ok_or_else(|| fail(FileTrouble::NoName))?;
        Self { path: path.to_owned(), place }.checked()
    }

    fn checked(self) -> Result<Self, KeyFileError> {
        if !self.place.is_free() {
            return Err(KeyFileError::new(&self.path, FileTrouble::Exists));
        }
        let writable = self.place.check_writable();
        writable.map_err(|errno| KeyFileError::new(&self.path, FileTrouble::Write(errno)))?;
        Ok(self)
    }

    /// Writes it, for this owner or for the caller.
    ///
    /// # Errors
    /// [`FileTrouble::Exists`], [`FileTrouble::Write`].
    pub(super) fn write(
        &self,
        key: &SharedKey,
        form: FileForm,
        owner: Option<(u32, u32)>,
    ) -> Result<(), KeyFileError> {
        let content = encoded(key, form);
        let named = self.place.written(&content, owner).and_then(Unnamed::name);
        named.map_err(|errno| match errno {
            Errno::EEXIST => KeyFileError::new(&self.path, FileTrouble::Exists),
            errno => KeyFileError::new(&self.path, FileTrouble::Write(errno)),
        })
    }

    /// Takes it away again.
    pub(super) fn remove(&self) {
        self.place.remove();
    }
}

fn encoded(key: &SharedKey, form: FileForm) -> Secret {
    match form {
        FileForm::Binary => key.encode(),
        FileForm::Text => key.to_text(),
    }
}

/// Reads a key in either form.
///
/// # Errors
/// [`KeyFileError`].
pub(super) fn read_standard_input() -> Result<SharedKey, KeyFileError> {
    // Without the buffer of std's, which is not zeroed.
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(FileTrouble::Read);
    let key = input.and_then(|input| key_of(File::from(input)));
    key.map(|(_, key)| key).map_err(|trouble| KeyFileError::new(Path::new(STANDARD_INPUT), trouble))
}

fn key_of(from: impl Read) -> Result<(FileForm, SharedKey), FileTrouble> {
    let content = content(from)?;
    match SharedKey::is_text(&content) {
        true => SharedKey::from_text(&content).map(|key| (FileForm::Text, key)).map_err(FileTrouble::NoText),
        false => SharedKey::decode(&content).map(|key| (FileForm::Binary, key)).map_err(no_binary),
    }
}

/// A file that is not meant to be text is of the binary form only if it is as long as that.
fn no_binary(error: SharedKeyError) -> FileTrouble {
    match error {
        SharedKeyError::Length(0) => FileTrouble::Empty,
        SharedKeyError::Length(length) => FileTrouble::NoForm(length),
        error => FileTrouble::NoKey(error),
    }
}

/// The content, in memory that is zeroed and does not grow.
fn content(from: impl Read) -> Result<Zeroizing<Vec<u8>>, FileTrouble> {
    let capacity = usize::try_from(FILE_LIMIT).unwrap_or(0) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(capacity));
    let length = from.take(FILE_LIMIT + 1).read_to_end(&mut content).map_err(FileTrouble::Read)?;
    match u64::try_from(length).unwrap_or(u64::MAX) {
        length if length > FILE_LIMIT => Err(FileTrouble::TooLong),
        _ => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creds::shared_key::KeyParts;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A directory `d` with a key file `key`, and a directory `other`.
    fn scene() -> (TempDir, PathBuf) {
        let scene = tempfile::tempdir().unwrap();
        for directory in ["d", "other"] {
            fs::create_dir(scene.path().join(directory)).unwrap();
        }
        let path = scene.path().join("d/key");
        NewFile::at(&path).unwrap().write(&key(), FileForm::Binary, None).unwrap();
        (scene, path)
    }

    fn key() -> SharedKey {
        SharedKey::new(KeyParts::of_a_client()).unwrap()
    }

    fn names_in(directory: PathBuf) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Whoever owns the directory above can do this while root's tool looks for a prime.
    #[test]
    fn what_is_written_goes_where_the_file_was_read_though_its_path_leads_elsewhere_by_then() {
        let (scene, path) = scene();
        let at = |name: &str| scene.path().join(name);
        let origin = KeyFile::read(&path, LastLink::Refused).unwrap().origin;
        let successor = origin.beside(".new").unwrap();
        let new = NewFile::at(&at("d/another")).unwrap();
        fs::rename(at("d"), at("moved")).unwrap();
        symlink(at("other"), at("d")).unwrap();
        origin.replace(&key(), FileForm::Text).unwrap();
        successor.write(&key(), FileForm::Binary, Some(origin.owner)).unwrap();
        new.write(&key(), FileForm::Binary, None).unwrap();
        assert_eq!(names_in(at("other")), [""; 0]);
        assert_eq!(names_in(at("moved")), ["another", "key", "key.new"]);
        assert!(fs::read(at("moved/key")).unwrap().starts_with(b"Lustre SSK"));
        successor.remove();
        assert_eq!(names_in(at("moved")), ["another", "key"]);
    }

    #[test]
    fn a_file_that_is_not_the_one_that_was_read_is_not_replaced() {
        let (scene, path) = scene();
        let origin = KeyFile::read(&path, LastLink::Refused).unwrap().origin;
        fs::remove_file(&path).unwrap();
        let replaced = || origin.replace(&key(), FileForm::Binary).unwrap_err();
        assert!(matches!(replaced().trouble, FileTrouble::Changed));
        fs::write(&path, "another").unwrap();
        assert!(matches!(replaced().trouble, FileTrouble::Changed));
        assert_eq!(fs::read(&path).unwrap(), b"another");
        assert_eq!(names_in(scene.path().join("d")), ["key"]);
    }
}
