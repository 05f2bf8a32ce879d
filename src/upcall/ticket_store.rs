//! Where the machine's tickets by the keytab are: in our own cache, a file or keys, or in root's default cache.
//!
//! The monitor writes them ([`super::own_cache`] says when), the launcher reads them. Invariant: a cache is replaced as a
//! whole, and nobody but root reads it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use zeroize::Zeroizing;

use crate::config::{Config, MachineCachePlace};
use crate::creds::cache_name::CacheName;
use crate::creds::limits::CACHE_BYTES;
use crate::creds::roots;
use crate::creds::stamp::Stamp;
use crate::creds::ticket_keys::{self, StagedKeys, TicketKeyFailure, TicketKeyName};
use crate::secret::Secret;
use crate::sys::errno::errno_of;
use crate::sys::files::unpredictable_name;
use crate::time::now;

/// Suffix of files that are being written.
pub(super) const NEW: &str = ".new";

/// Where tickets from the keytab are stored.
#[derive(Debug)]
pub(super) enum TicketStore {
    /// In our own cache.
    Own,
    /// In root's default cache, a file.
    Default(PathBuf),
    /// In keys of root's, if they could be made.
    Keys(Result<Box<StagedKeys>, TicketKeyFailure>),
}

/// Why a cache was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotStored {
    /// A file was not replaced.
    InFile(Errno),
    /// Keys were not.
    InKeys(TicketKeyFailure),
}

impl TicketStore {
    /// By the settings. A default cache that is not a file cannot be written here; the own cache takes its place.
    pub(super) fn of(config: &Config, stamp: &Stamp) -> Self {
        if let Some(name) = keys_name(config, stamp) {
            return Self::Keys(StagedKeys::make(&name).map(Box::new));
        }
        let default = || match roots::default_cache(&config.krb5_config).ok()? {
            CacheName::File(path) => Some(path),
            _ => None,
        };
        let host = config.within().is_none();
        let path = (host && config.machine.cache == MachineCachePlace::Default).then(default).flatten();
        path.map_or(Self::Own, Self::Default)
    }

    /// The directory outside the run directory that is written to.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Own | Self::Keys(_) => None,
            Self::Default(path) => path.parent(),
        }
    }

    /// The keys that are to be filled.
    pub(super) fn keys(&self) -> Option<&StagedKeys> {
        match self {
            Self::Keys(keys) => keys.as_deref().ok(),
            Self::Own | Self::Default(_) => None,
        }
    }
}

impl TicketStore {
    /// Stores a cache. The directory is that of own caches.
    ///
    /// # Errors
    /// Why it is not stored. What was stored before is there unchanged.
    pub(super) fn put(
        &mut self,
        (directory, stamp): (BorrowedFd<'_>, &str),
        cache: &Secret,
        good_until: u32,
    ) -> Result<(), NotStored> {
        match self {
            Self::Own => replace(directory, stamp, cache).map_err(NotStored::InFile),
            Self::Default(path) => replace_at(path, cache).map_err(NotStored::InFile),
            Self::Keys(Err(failure)) => Err(NotStored::InKeys(*failure)),
            Self::Keys(Ok(keys)) => {
                let life = Duration::from_secs(u64::from(good_until).saturating_sub(now()));
                keys.store(cache.expose(), life).map_err(NotStored::InKeys)?;
                // From when the settings were others.
                let _ = unlinkat(directory, stamp, UnlinkatFlags::NoRemoveDir);
                Ok(())
            }
        }
    }
}

/// The cache's path.
pub(super) fn path(config: &Config, stamp: &Stamp) -> PathBuf {
    config.run_dir.join("machine").join(stamp.to_string())
}

/// The name of the cache's keys, if it is to be in keys.
pub(super) fn keys_name(config: &Config, stamp: &Stamp) -> Option<TicketKeyName> {
    let in_keys = config.machine.cache == MachineCachePlace::Keyring;
    in_keys.then(|| TicketKeyName::of(&path(config, stamp))).flatten()
}

/// What a note for fronts names the cache by.
pub(super) fn noted_name(config: &Config, stamp: &Stamp) -> String {
    match keys_name(config, stamp) {
        Some(name) => name.to_string(),
        None => path(config, stamp).display().to_string(),
    }
}

/// The contents of the cache.
///
/// # Errors
/// `Absent` if there is none; in keys, the other failures of [`ticket_keys::read`].
pub(super) fn contents(config: &Config, stamp: &Stamp) -> Result<Zeroizing<Vec<u8>>, TicketKeyFailure> {
    if let Some(name) = keys_name(config, stamp) {
        return ticket_keys::read(&name);
    }
    let read = || {
        let file = File::open(path(config, stamp))?;
        let room = file.metadata()?.len().min(CACHE_BYTES.into());
        // A buffer that grows leaves tickets behind in memory; one byte more shows the end.
        let mut content =
            Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or(0).saturating_add(1)));
        file.take(room).read_to_end(&mut content)?;
        Ok::<_, io::Error>(content)
    };
    read().map_err(|_| TicketKeyFailure::Absent)
}

fn replace_at(path: &Path, cache: &Secret) -> Result<(), Errno> {
    let name = path.file_name().and_then(OsStr::to_str).ok_or(Errno::EINVAL)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(path.parent().ok_or(Errno::EINVAL)?, flags, Mode::empty())?;
    replace(directory.as_fd(), name, cache)
}

/// Replaces the file as a whole, so that no reader sees a part. The new file has an unpredictable name at first, since
/// others may be able to write to the directory.
fn replace(directory: BorrowedFd<'_>, name: &str, cache: &Secret) -> Result<(), Errno> {
    let new = format!(".{}{NEW}", unpredictable_name()?);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file: File = openat(directory, new.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into();
    let written = file
        .write_all(cache.expose())
        .map_err(|error| errno_of(&error))
        .and_then(|()| renameat(directory, new.as_str(), directory, name));
    if written.is_err() {
        let _ = unlinkat(directory, new.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    written
}
