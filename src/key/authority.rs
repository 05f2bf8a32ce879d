//! The authority over a key under construction (keyrings(7), "authorization keys").
//!
//! The front assumes the authority and instantiates or rejects; its monitor inherits the authority by fork, as long as
//! the key is under construction.

use std::time::Duration;

use nix::errno::Errno;

use super::description::KeyDescription;
use super::live::{Consumer, LiveKey, OF_ROOTS_KEY_IN_PROGRESS, REJECT_TTL};
use super::serial::KeySerial;
use crate::sys::keyctl;

/// Permissions of a key that the kernel trusts (rule S16): its possessor views, searches and links, its owner views, its
/// group, which is root's, views, writes and sets attributes.
const OF_A_USERS_KERNEL_KEY: u32 = 0x1901_2500;
/// The same for an owner who is root.
const OF_ROOTS_KERNEL_KEY: u32 = 0x1925_0000;

/// The right to instantiate or reject one key.
#[derive(Debug)]
pub(crate) struct Authority {
    key: KeySerial,
    auth_key: KeySerial,
}

/// Proof that a request for a key may be served; made by `upcall::authorise` alone.
pub(crate) trait Permission {
    /// The key that it is for.
    fn key(&self) -> KeySerial;
}

/// Proof that a key of the kernel's has its permissions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PreparedKey(KeySerial);

/// Why a key was not instantiated; the authority comes back so that it can be rejected.
#[derive(Debug)]
pub(crate) struct NotInstantiated {
    /// Still valid.
    pub authority: Authority,
    /// The kernel's error.
    pub errno: Errno,
}

impl Authority {
    /// Assumes the authority that this process was started with.
    ///
    /// # Errors
    /// ENOKEY if it has none over this key.
    pub(crate) fn assume(key: KeySerial) -> Result<Self, Errno> {
        let auth_key = KeySerial::new(keyctl::assume_authority(key.raw())?).ok_or(Errno::EPROTO)?;
        Ok(Self { key, auth_key })
    }

    /// The same authority in the child that inherits it; it ends for both when the key is answered.
    #[must_use]
    pub(crate) fn inherited(&self) -> Self {
        Self { key: self.key, auth_key: self.auth_key }
    }

    /// The key under construction.
    pub(crate) fn key(&self) -> KeySerial {
        self.key
    }

    /// The authorisation key, whose line in /proc/keys names the requester.
    pub(crate) fn auth_key(&self) -> KeySerial {
        self.auth_key
    }

    /// What the kernel says of the key under construction.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn describe(&self) -> Result<KeyDescription, Errno> {
        KeyDescription::of(self.key)
    }

    /// Sets the timeout that ends the key whatever becomes of us; it survives the instantiation.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> Result<(), Errno> {
        keyctl::set_timeout(self.key.raw(), timeout)
    }

    /// Gives the key its provisional payload and links it to this process's own session keyring, whose possession is
    /// what allows the monitor to update it: a special id would mean the requester's keyring here.
    ///
    /// # Errors
    /// [`NotInstantiated`] with EDQUOT and others of the kernel's, EPERM if the permission is for another key.
    pub(crate) fn instantiate(
        self,
        permission: &impl Permission,
        payload: &[u8],
    ) -> Result<LiveKey, NotInstantiated> {
        if permission.key() != self.key {
            return Err(NotInstantiated { authority: self, errno: Errno::EPERM });
        }
        let instantiated =
            own_session_keyring().and_then(|ring| keyctl::instantiate(self.key.raw(), payload, ring));
        match instantiated {
            Ok(()) => Ok(LiveKey::taken_over(self.key, Consumer::Program)),
            Err(errno) => Err(NotInstantiated { authority: self, errno }),
        }
    }

    /// Closes a key of root's programs to all but root. If that fails, possession counts until it is published.
    pub(crate) fn leave_to_root(&self) {
        let _ = keyctl::set_permissions(self.key.raw(), OF_ROOTS_KEY_IN_PROGRESS);
    }

    /// Gives a key of the kernel's its provisional payload, which is none, and lets root's group alone write to it: its
    /// possessor, the user, must not. It is given to `owner`, whose context it is: when it ends, by an error, a flush
    /// or its time, the kernel takes it out of its owner's keyring, and it lies in that of the real uid; in a setuid
    /// program it would stay there, dead, and that user be locked out. Possession for the monitor is up to the kernel,
    /// so that no keyring is named.
    ///
    /// # Errors
    /// As [`Authority::instantiate`].
    pub(crate) fn instantiate_for_kernel(
        self,
        permission: &impl Permission,
        owner: u32,
    ) -> Result<LiveKey, NotInstantiated> {
        match self.prepare_for_kernel(owner) {
            Ok(prepared) => self.instantiate_prepared(permission, prepared),
            Err(errno) => Err(NotInstantiated { authority: self, errno }),
        }
    }

    /// Sets who may do what with the key, which needs more rights than the authority.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn prepare_for_kernel(&self, owner: u32) -> Result<PreparedKey, Errno> {
        let permissions = if owner == 0 { OF_ROOTS_KERNEL_KEY } else { OF_A_USERS_KERNEL_KEY };
        let key = self.key.raw();
        keyctl::set_owner(key, owner, 0).and_then(|()| keyctl::set_permissions(key, permissions))?;
        Ok(PreparedKey(self.key))
    }

    /// The rest.
    ///
    /// # Errors
    /// As [`Authority::instantiate`].
    pub(crate) fn instantiate_prepared(
        self,
        permission: &impl Permission,
        PreparedKey(prepared): PreparedKey,
    ) -> Result<LiveKey, NotInstantiated> {
        if permission.key() != self.key || prepared != self.key {
            return Err(NotInstantiated { authority: self, errno: Errno::EPERM });
        }
        match keyctl::instantiate(self.key.raw(), &[], 0) {
            Ok(()) => Ok(LiveKey::taken_over(self.key, Consumer::Kernel)),
            Err(errno) => Err(NotInstantiated { authority: self, errno }),
        }
    }

    /// Refuses the request: the requester gets `errno` at once, and again for [`REJECT_TTL`].
    ///
    /// # Errors
    /// The kernel's, when the key is no longer under construction.
    pub(crate) fn reject(self, errno: Errno) -> Result<(), Errno> {
        keyctl::reject(self.key.raw(), REJECT_TTL, errno)
    }
}

/// The `_req` keyring that the kernel gave this process, by its positive id.
///
/// # Errors
/// The kernel's.
pub(crate) fn own_session_keyring() -> Result<i32, Errno> {
    keyctl::keyring_id(keyctl::SESSION_KEYRING)
}

/// The key that the kernel has started this process for, by the name of the session keyring that it made: `_req.<key>`.
/// `None` for a process that was not started for a key, as by hand.
pub(crate) fn key_under_construction() -> Option<KeySerial> {
    let ring = KeySerial::new(keyctl::keyring_id(keyctl::SESSION_KEYRING).ok()?)?;
    let name = KeyDescription::of(ring).ok()?.description;
    std::str::from_utf8(name.strip_prefix(b"_req.")?).ok()?.parse().ok()
}
