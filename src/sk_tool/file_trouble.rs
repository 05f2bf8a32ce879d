//! What can be wrong with a key file, and what to try then.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::place::directory;
use crate::creds::shared_key::{LENGTH, SharedKeyError, TextFormError};
use crate::text::{quoted_path, shell_word};

/// Longer files are not read; the text form takes 3227 bytes.
pub(super) const FILE_LIMIT: u64 = 16 * 1024;

/// The name of the standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {trouble}", quoted_path(.path))]
pub(super) struct KeyFileError {
    path: PathBuf,
    /// Why.
    pub trouble: FileTrouble,
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
    #[error("not a shared key: it has more than {FILE_LIMIT} bytes")]
    TooLong,
    /// Neither form.
    #[error("not a shared key: it has {0} bytes, where the binary form has {LENGTH}, and {no_line}, as the text form does", no_line = TextFormError::NoFirstLine)]
    NoForm(usize),
    /// Nothing to read.
    #[error("not a shared key: it is empty")]
    Empty,
    /// The binary form, but broken.
    #[error("not a shared key: {0}")]
    NoKey(#[source] SharedKeyError),
    /// The text form, but broken.
    #[error("not a shared key: {0}")]
    NoText(#[source] TextFormError),
    /// Others can read or change it.
    #[error("its mode is {0:04o}: group may neither read nor write it, others neither write nor execute it")]
    Open(u32),
    /// A new file would replace it.
    #[error("it exists already")]
    Exists,
    /// Somebody else has written it since it was read.
    #[error("it was replaced or removed in the meantime and has been left alone")]
    Changed,
    /// The name of a directory.
    #[error("it does not name a file")]
    NoName,
    /// It cannot be written.
    #[error("cannot be written: {}", .0.desc())]
    Write(Errno),
}

impl KeyFileError {
    /// Names the file.
    pub(super) fn new(path: &Path, trouble: FileTrouble) -> Self {
        Self { path: path.to_owned(), trouble }
    }

    /// What to try.
    pub(super) fn remedy(&self) -> Option<String> {
        let path = shell_word(&self.path);
        let remedy = match &self.trouble {
            FileTrouble::Read(error) if error.kind() == ErrorKind::PermissionDenied => {
                "run this as the file's owner or as root: sudo lgss_sk …".to_owned()
            }
            FileTrouble::Open(_) => format!("chmod 0400 {path}"),
            FileTrouble::Link => format!("name the file that it leads to: readlink -f {path}"),
            FileTrouble::Exists => {
                "another name; or remove the file first, if no node needs its key".to_owned()
            }
            FileTrouble::TooLong
            | FileTrouble::NoForm(_)
            | FileTrouble::Empty
            | FileTrouble::NoKey(_)
            | FileTrouble::NoText(_)
                if self.path == Path::new(STANDARD_INPUT) =>
            {
                "keyctl pipe KEY | lgss_sk -r -".to_owned()
            }
            FileTrouble::TooLong
            | FileTrouble::NoForm(_)
            | FileTrouble::Empty
            | FileTrouble::NoKey(_)
            | FileTrouble::NoText(_) => {
                "copy the file again from a node where lgss_sk -r shows it".to_owned()
            }
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
