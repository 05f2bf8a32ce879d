//! Why a call failed, with what to do about it.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::file_trouble::KeyFileError;
use super::mounted::{MOUNTED, MountedError};
use super::prime::PrimeSearchError;
use crate::creds::shared_key::SharedKeyError;
use crate::provider::Undone;
use crate::provider::shared_keys::root_keyring::RootKeyringError;
use crate::text::{quoted, quoted_path, shell_word};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SkFailure {
    /// The command line contradicts itself.
    #[error(transparent)]
    Usage(Box<clap::Error>),
    /// The process could not be kept from leaving its secrets in a core file.
    #[error("cannot disable core dumps: {}", .0.desc())]
    Core(Errno),
    /// A file is not usable.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// What the options say is no key.
    #[error("these options do not make a valid key: {0}")]
    Rules(#[from] SharedKeyError),
    /// No secret could be had.
    #[error("{path}: {error}", path = quoted_path(.0), error = .1)]
    Secret(PathBuf, #[source] io::Error),
    /// The file of a secret is too short.
    #[error("{} has {length} bytes, and the key takes {wanted}", quoted_path(.path))]
    ShortSecret {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        length: usize,
        /// Those of the key.
        wanted: usize,
    },
    /// The kernel gives no random numbers.
    #[error("no random numbers: {}", .0.desc())]
    Random(Errno),
    /// There is no prime.
    #[error(transparent)]
    Prime(#[from] PrimeSearchError),
    /// The keyring refuses.
    #[error(transparent)]
    Keyring(#[from] RootKeyringError),
    /// What takes the rights of root was not done.
    #[error(transparent)]
    Refused(#[from] Undone),
    /// The mount is not known.
    #[error(transparent)]
    Mounted(#[from] MountedError),
    /// A key for one client was wanted of a file that has none.
    #[error("{}: --update is for keys of type client", quoted_path(.0))]
    NoClient(PathBuf),
    /// The mount is of another file system.
    #[error("the key is for file system {}, and the directory is in {}", quoted(.key), quoted(.mounted))]
    OtherFileSystem {
        /// That of the key.
        key: String,
        /// That of the mount.
        mounted: String,
    },
    /// A key without any name.
    #[error("{}: it has no file system name, so it cannot be loaded", quoted_path(.0))]
    NoNames(PathBuf),
    /// There was nothing to remove.
    #[error("not loaded: {}", .0.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))]
    NotLoaded(Vec<String>),
    /// There is what an earlier rotation has made.
    #[error("{}: its successor {} already exists", quoted_path(.file), quoted_path(.successor))]
    SuccessorExists {
        /// The file.
        file: PathBuf,
        /// That of its successor.
        successor: PathBuf,
    },
    /// One file was to get two successors.
    #[error("{}: it is named twice", quoted_path(.0))]
    NamedTwice(PathBuf),
    /// A result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl SkFailure {
    /// What to try.
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::File(error) => error.remedy(),
            Self::Refused(refusal) => refusal.remedy.clone(),
            Self::Keyring(error) => error.remedy(),
            Self::Mounted(error) => error.remedy(),
            Self::Rules(SharedKeyError::SecretBits(bits)) => {
                Some(format!("--key-bits {}", rounded_up(*bits)))
            }
            Self::Rules(SharedKeyError::PrimeBits(bits)) => {
                Some(format!("--prime-bits {}", rounded_up(*bits)))
            }
            Self::ShortSecret { length, .. } if *length > 0 => Some(format!("--key-bits {}", length * 8)),
            Self::NoClient(path) => {
                let path = shell_word(path);
                Some(format!("cp {path} COPY && lgss_sk -t client -m COPY, then load COPY"))
            }
            Self::OtherFileSystem { .. } => Some(MOUNTED.to_owned()),
            Self::NoNames(path) => Some(format!("lgss_sk -m {} -f FSNAME", shell_word(path))),
            Self::NotLoaded(_) => Some("lgss_sk list shows what is loaded".to_owned()),
            Self::SuccessorExists { file, successor } => {
                let (file, successor) = (shell_word(file), shell_word(successor));
                Some(format!(
                    "load {successor} on every node, then mv {successor} {file}; or, if no node has loaded it, rm {successor}"
                ))
            }
            Self::NamedTwice(_) => Some("name each file once".to_owned()),
            _ => None,
        }
    }
}

fn rounded_up(bits: u32) -> u32 {
    bits.next_multiple_of(u8::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_file_of_somebody_elses_do_not_reach_the_terminal_as_they_are() {
        let said = SkFailure::NotLoaded(vec!["lustre:\u{1b}]0;x\u{7}".to_owned(), "lustre:b".to_owned()])
            .to_string();
        assert!(!said.contains(char::is_control) && said.ends_with(", lustre:b"), "{said:?}");
    }
}
