//! The keys' names and rights.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::key::{KeyDescription, KeySerial};

/// Their owner alone may do anything (keyrings(7)). Not their possessor: a session keyring of root's that leads to the user
/// keyring stays with programs that have dropped root's uid.
pub(super) const PERMISSIONS: u32 = 0x003f_0000;
/// How the names begin.
const PREFIX: &[u8] = b"lgss:";

/// The name of the key that stands in for a file: `lgss:` and the file's path, so that each run directory has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TicketKeyName(CString);

impl TicketKeyName {
    /// Of the key for this file; `None` for what cannot be a path.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        CString::new([PREFIX, file.as_os_str().as_bytes()].concat()).ok().map(Self)
    }

    /// Reads a name as it is shown.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let path = text.as_bytes().strip_prefix(PREFIX)?;
        Self::of(Path::new(std::ffi::OsStr::from_bytes(path)))
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        &self.0
    }

    /// Of a part that belongs to the first key `head`. No other key has this name, so that no part displaces one.
    pub(super) fn part(&self, head: KeySerial, number: usize) -> Self {
        let suffix = format!(":{head}:{number}");
        let name = [self.0.as_bytes(), suffix.as_bytes()].concat();
        // The suffix has no zero bytes, nor has the name.
        Self(CString::new(name).unwrap_or_default())
    }

    /// The first key that a part of ours belongs to; none if the key is no such part.
    pub(super) fn first_of(&self, key: &KeyDescription) -> Option<KeySerial> {
        let rest = key.description.strip_prefix(self.0.as_bytes())?.strip_prefix(b":")?;
        let (first, _) = std::str::from_utf8(rest).ok()?.split_once(':')?;
        let first = i32::from_str_radix(first, 16).ok().and_then(KeySerial::new)?;
        is_our_own(key).then_some(first)
    }

    /// Whether the key has this name and is ours alone.
    ///
    /// # Errors
    /// The kernel's: the key has gone, or its owner lets nobody see it.
    pub(super) fn is_of_our_own(&self, key: KeySerial) -> Result<bool, Errno> {
        let found = KeyDescription::of(key)?;
        Ok(found.description == self.0.as_bytes() && is_our_own(&found))
    }
}

impl fmt::Display for TicketKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

/// Whether a key is of our type, belongs to us, and gives nobody else a right.
pub(super) fn is_our_own(found: &KeyDescription) -> bool {
    found.key_type == "user" && found.uid == geteuid().as_raw() && found.permissions == PERMISSIONS
}
