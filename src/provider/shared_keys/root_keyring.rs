//! Root's user keyring, with the shared keys in it: found, put in, taken out.
//!
//! Invariant: a key has its permissions and its timeout before anybody can find it, and replaces the former one of its
//! name at once.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{ResUid, getresuid};

use super::remaining::{self, ListedKey};
use crate::creds::shared_key::keyring::is_open;
use crate::creds::shared_key::{LENGTH, SharedKey, SharedKeyError};
use crate::key::{KeyDescription, KeySerial};
use crate::secret::Secret;
use crate::sys::keyctl;
use crate::text::quoted;

/// Possessor and owner may do everything, group and others nothing (keyrings(7)). Lustre's daemons read a key as its owner,
/// since they do not always possess it.
const PERMISSIONS: u32 = 0x3f3f_0000;
/// How the names of shared keys begin.
const PREFIX: &str = "lustre:";

/// Why the keyring does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootKeyringError {
    /// Only root's keyring serves Lustre.
    #[error("only root can do this: the keys are in root's user keyring")]
    NotRoot,
    /// The keyring cannot be used.
    #[error("root's user keyring cannot be used: {}", .0.desc())]
    Unusable(Errno),
    /// A key cannot be put in.
    #[error("cannot load key {}: {}", quoted(.0), .1.desc())]
    Load(String, Errno),
    /// A key cannot be taken out.
    #[error("cannot remove key {}: {}", quoted(.0), .1.desc())]
    Remove(String, Errno),
    /// A key cannot be given a timeout.
    #[error("cannot give key {} a timeout: {}", quoted(.0), .1.desc())]
    Timeout(String, Errno),
}

impl RootKeyringError {
    /// What to try.
    pub(crate) fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::NotRoot => "sudo lgss_sk …",
            Self::Unusable(Errno::EDQUOT) | Self::Load(_, Errno::EDQUOT) => {
                "raise root_maxkeys and root_maxbytes in /proc/sys/kernel/keys, or remove keys: lgss_sk list"
            }
            Self::Unusable(Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => {
                "on the host, not in a container; else its seccomp profile has to allow keyctl and add_key"
            }
            Self::Unusable(_) => "keyctl show @u, which has to show the keyring",
            Self::Remove(..) => "lgss_sk list shows what is still loaded",
            Self::Timeout(..) => "lgss_sk list shows which keys have no end",
            Self::Load(..) => return None,
        };
        Some(remedy.to_owned())
    }
}

/// Root's user keyring, of which the process possesses everything while this lives.
#[derive(Debug)]
pub(crate) struct RootKeyring(());

/// A key in the keyring.
#[derive(Debug)]
pub(crate) struct LoadedKey {
    /// Its number.
    pub serial: KeySerial,
    /// Its description.
    pub name: String,
    /// What it holds.
    pub content: LoadedContent,
    /// Whether others than root may read or change it.
    pub is_open: bool,
}

/// What a key in the keyring holds.
#[derive(Debug)]
pub(crate) enum LoadedContent {
    /// A shared key.
    Shared(Box<SharedKey>),
    /// Something else.
    Other(SharedKeyError),
    /// Nothing any more: its time is over.
    Expired,
    /// Nothing any more: somebody has ended it.
    Revoked,
    /// Something that cannot be read.
    Unreadable(Errno),
}

impl RootKeyring {
    /// Links the keyring to the process's own. A session of sudo, of a unit or of cron does not lead there, and the rights of
    /// a possessor are needed for all that follows.
    ///
    /// # Errors
    /// [`RootKeyringError::NotRoot`], [`RootKeyringError::Unusable`].
    pub(crate) fn open() -> Result<Self, RootKeyringError> {
        // The kernel takes the keyring of the real uid.
        let is_root =
            getresuid().is_ok_and(|ResUid { real, effective, .. }| real.is_root() && effective.is_root());
        if !is_root {
            return Err(RootKeyringError::NotRoot);
        }
        let made = keyctl::make_keyring(keyctl::USER_KEYRING);
        made.and_then(|_| keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING))
            .map_err(RootKeyringError::Unusable)?;
        Ok(Self(()))
    }

    /// Whether it is that of the host's root, which Lustre reads, and not of a container's.
    pub(crate) fn is_the_hosts(&self) -> bool {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().eq(["0", "0", "4294967295"])
    }

    /// All shared keys, by name; those too that have ended, until the kernel takes them out.
    ///
    /// # Errors
    /// [`RootKeyringError::Unusable`].
    pub(crate) fn all(&self) -> Result<Vec<LoadedKey>, RootKeyringError> {
        let links = keyctl::links(keyctl::USER_KEYRING).map_err(RootKeyringError::Unusable)?;
        let listed = LazyCell::new(remaining::of_all_keys as fn() -> HashMap<i32, ListedKey>);
        let of = |serial: KeySerial| {
            // Of a key that has ended the kernel gives no description, but its list does.
            let ended = || listed.get(&serial.raw()).and_then(|key| key.name.clone());
            LoadedKey::of(serial, ended)
        };
        let mut found: Vec<LoadedKey> = links.into_iter().filter_map(KeySerial::new).filter_map(of).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// The key of this name.
    ///
    /// # Errors
    /// As [`RootKeyring::all`].
    pub(crate) fn find(&self, name: &str) -> Result<Option<LoadedKey>, RootKeyringError> {
        Ok(self.all()?.into_iter().find(|key| key.name == name))
    }

    /// Puts a key in, in the place of one with the same name; it lasts for ever, or so long.
    ///
    /// # Errors
    /// [`RootKeyringError::Load`].
    pub(crate) fn put(
        &self,
        name: &str,
        payload: &Secret,
        life: Option<Duration>,
    ) -> Result<KeySerial, RootKeyringError> {
        let fail = |errno| RootKeyringError::Load(name.to_owned(), errno);
        let description = CString::new(name).map_err(|_| fail(Errno::EINVAL))?;
        // Where nobody else sees it.
        let ring = keyctl::PROCESS_KEYRING;
        let key = keyctl::add(c"user", &description, payload.expose(), ring).map_err(fail)?;
        let finished = keyctl::set_permissions(key, PERMISSIONS)
            .and_then(|()| life.map_or(Ok(()), |life| keyctl::set_timeout(key, life)))
            .and_then(|()| keyctl::link(key, keyctl::USER_KEYRING));
        let _ = keyctl::unlink(key, ring);
        finished.map_err(fail)?;
        KeySerial::new(key).ok_or_else(|| fail(Errno::EPROTO))
    }

    /// Takes a key out, and ends it for everybody who has it.
    ///
    /// # Errors
    /// [`RootKeyringError::Remove`].
    pub(crate) fn remove(&self, key: &LoadedKey) -> Result<(), RootKeyringError> {
        // A key that has ended or that its permissions protect is taken out all the same.
        let _ = keyctl::revoke(key.serial.raw());
        match keyctl::unlink(key.serial.raw(), keyctl::USER_KEYRING) {
            // The kernel has been quicker.
            Ok(()) | Err(Errno::ENOKEY | Errno::ENOENT) => Ok(()),
            Err(errno) => Err(RootKeyringError::Remove(key.name.clone(), errno)),
        }
    }

    /// Lets a key end in a while.
    ///
    /// # Errors
    /// [`RootKeyringError::Timeout`].
    pub(crate) fn let_end(&self, key: &LoadedKey, life: Duration) -> Result<(), RootKeyringError> {
        keyctl::set_timeout(key.serial.raw(), life)
            .map_err(|errno| RootKeyringError::Timeout(key.name.clone(), errno))
    }
}

impl Drop for RootKeyring {
    fn drop(&mut self) {
        if let Ok(ring) = keyctl::keyring_id(keyctl::USER_KEYRING) {
            let _ = keyctl::unlink(ring, keyctl::PROCESS_KEYRING);
        }
    }
}

impl LoadedKey {
    /// `None` for keys of others than Lustre, and for one that has gone meanwhile. `ended` has the name of one that has ended.
    fn of(serial: KeySerial, ended: impl FnOnce() -> Option<String>) -> Option<Self> {
        let is_lustres = |name: &String| name.starts_with(PREFIX);
        let key = match KeyDescription::of(serial) {
            Ok(key) => key,
            Err(errno @ (Errno::EKEYEXPIRED | Errno::EKEYREVOKED)) => {
                let name = ended().filter(is_lustres)?;
                return Some(Self { serial, name, content: LoadedContent::unread(errno), is_open: false });
            }
            Err(_) => return None,
        };
        let name = String::from_utf8(key.description).ok().filter(is_lustres)?;
        if key.key_type != "user" {
            return None;
        }
        let content = match keyctl::read_at_most(serial.raw(), LENGTH) {
            Ok(payload) => match SharedKey::decode(&payload) {
                Ok(key) => LoadedContent::Shared(Box::new(key)),
                Err(error) => LoadedContent::Other(error),
            },
            Err(Errno::ENOKEY) => return None,
            // Longer than any shared key.
            Err(Errno::EMSGSIZE) => LoadedContent::Other(SharedKeyError::Length(LENGTH + 1)),
            Err(errno) => LoadedContent::unread(errno),
        };
        Some(Self { serial, name, content, is_open: is_open(key.permissions) })
    }

    /// Whether it serves nobody any more.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.content, LoadedContent::Expired | LoadedContent::Revoked)
    }

    /// Whether it is a shared key with this secret.
    pub(crate) fn has_secret(&self, secret: &Secret) -> bool {
        self.shared().is_some_and(|key| key.secret.expose() == secret.expose())
    }

    /// The shared key, if it holds one.
    pub(crate) fn shared(&self) -> Option<&SharedKey> {
        match &self.content {
            LoadedContent::Shared(key) => Some(key),
            _ => None,
        }
    }
}

impl LoadedContent {
    fn unread(errno: Errno) -> Self {
        match errno {
            Errno::EKEYEXPIRED => Self::Expired,
            Errno::EKEYREVOKED => Self::Revoked,
            errno => Self::Unreadable(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_cannot_be_used_has_a_remedy_whatever_the_error() {
        let remedy = |errno| RootKeyringError::Unusable(errno).remedy().unwrap();
        for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EACCES] {
            assert!(remedy(errno).contains("seccomp"), "{errno}");
        }
        assert!(remedy(Errno::EDQUOT).contains("root_maxkeys"));
        assert!(remedy(Errno::EKEYREVOKED).contains("keyctl show @u"));
        let full = RootKeyringError::Load("lustre:scratch".to_owned(), Errno::EDQUOT);
        assert!(full.remedy().unwrap().contains("root_maxbytes"));
    }
}
