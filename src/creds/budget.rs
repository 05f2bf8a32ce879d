//! Budgets for all sources of one request together (rule S22): bytes and tickets of caches, keys that are copied.
//! Checked before anything is read in full.

#[cfg(feature = "gss")]
use std::{fs::File, io::Read, os::unix::fs::OpenOptionsExt};

use nix::errno::Errno;
use zeroize::Zeroizing;

#[cfg(feature = "gss")]
use super::file_shape::{ShapeError, count_tickets};
use crate::sys::keyctl;

/// Most bytes of all files.
#[cfg(feature = "gss")]
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Most tickets in one cache, and in all files. A user has one for each service used within a day.
#[cfg(feature = "gss")]
pub(crate) const TICKETS: usize = 8192;
/// Most bytes of all keys that are copied.
const KEY_BYTES: usize = 4 * 1024 * 1024;
/// Most keys that are looked at in all caches.
const KEYS: usize = 8192;

/// What is left of the budget for files.
#[cfg(feature = "gss")]
#[derive(Debug)]
pub(crate) struct FileBudget {
    bytes: u64,
    tickets: usize,
}

/// Why a file is not read.
#[cfg(feature = "gss")]
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverBudget {
    /// All files together are too large.
    #[error("not read: the caches have more than {} MiB in all", FILE_BYTES / 1024 / 1024)]
    Bytes,
    /// Reading its contents would cost too much.
    #[error("not read: {0}")]
    Shape(#[from] ShapeError),
}

#[cfg(feature = "gss")]
impl Default for FileBudget {
    fn default() -> Self {
        Self { bytes: FILE_BYTES, tickets: TICKETS }
    }
}

#[cfg(feature = "gss")]
impl FileBudget {
    /// Charges for the cache that the library will read by that name. Errors of a cache that is no file or cannot be
    /// opened are left to the library.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub(crate) fn admit(&mut self, library_name: &str) -> Result<(), OverBudget> {
        let Some(path) = library_name.strip_prefix("FILE:") else { return Ok(()) };
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        let Ok(file) = opened else { return Ok(()) };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length > self.bytes {
            return Err(OverBudget::Bytes);
        }
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0)));
        // A file that grows meanwhile is left to the library, whose memory is limited.
        if file.take(length).read_to_end(&mut content).is_err() {
            return Ok(());
        }
        self.tickets -= count_tickets(&content, self.tickets)?;
        self.bytes -= length;
        Ok(())
    }
}

/// What is left of the budget for copies of keys, which root makes.
#[derive(Debug)]
pub(crate) struct KeyBudget {
    bytes: usize,
    keys: usize,
}

impl Default for KeyBudget {
    fn default() -> Self {
        Self { bytes: KEY_BYTES, keys: KEYS }
    }
}

impl KeyBudget {
    /// Charges for one key that is looked at.
    ///
    /// # Errors
    /// E2BIG.
    pub(crate) fn look(&mut self) -> Result<(), Errno> {
        self.keys = self.keys.checked_sub(1).ok_or(Errno::E2BIG)?;
        Ok(())
    }

    /// Reads the payload of a key; its length is checked first.
    ///
    /// # Errors
    /// E2BIG, and those of keyctl_read(3).
    pub(crate) fn read(&mut self, key: i32) -> Result<Zeroizing<Vec<u8>>, Errno> {
        self.look()?;
        let payload = keyctl::read_at_most(key, self.bytes).map_err(|errno| match errno {
            Errno::EMSGSIZE => Errno::E2BIG,
            other => other,
        })?;
        self.bytes = self.bytes.checked_sub(payload.len()).ok_or(Errno::E2BIG)?;
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "gss")]
    #[test]
    fn all_files_have_one_budget_and_what_is_over_it_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let sparse = |name: &str, mib: u64| {
            let path = directory.path().join(name);
            File::create(&path).unwrap().set_len(mib * 1024 * 1024).unwrap();
            format!("FILE:{}", path.display())
        };
        let mut budget = FileBudget::default();
        assert!(budget.admit(&sparse("a", 7)).is_ok() && budget.admit(&sparse("b", 7)).is_ok());
        assert!(matches!(budget.admit(&sparse("c", 7)), Err(OverBudget::Bytes)));
        assert!(budget.admit(&sparse("d", 2)).is_ok());
        for other in ["KCM:", "FILE:/nonexistent/x", "KEYRING:user:x"] {
            assert!(budget.admit(other).is_ok(), "{other}");
        }
    }

    #[test]
    fn keys_are_counted_and_their_lengths_seen_before_they_are_read() {
        let ring = keyctl::join_anonymous_session().unwrap();
        let key = keyctl::add(c"user", c"lgss-test", &[7; 3000], ring).unwrap();
        let mut budget = KeyBudget { bytes: 7000, keys: 4 };
        assert_eq!(budget.read(key).unwrap().len(), 3000);
        assert_eq!(budget.read(key).unwrap().len(), 3000);
        assert_eq!(budget.read(key), Err(Errno::E2BIG));
        assert_eq!(budget.look(), Ok(()));
        assert_eq!(budget.read(key), Err(Errno::E2BIG), "no key more");
    }
}
