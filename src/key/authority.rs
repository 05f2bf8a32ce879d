//! The authority over a key under construction (keyrings(7), "authorization keys").
//!
//! The front assumes the authority and instantiates or rejects the key. Its monitor inherits the authority by fork, for
//! as long as the key is under construction.

use std::time::Duration;

use nix::errno::Errno;

use super::description::KeyDescription;
use super::live::{Consumer, LiveKey, OF_ROOTS_KEY_IN_PROGRESS, REJECT_TTL};
use super::serial::KeySerial;
use crate::sys::{jail, keyctl};

/// The group of a key that the kernel reads. No account has this number: it is beyond those that distributions, directories
/// and containers use, and below those of some directories' subordinate ids, which begin at 2³¹. Root's group may have
/// members. A process of ours that finishes such a key has it as a supplementary group.
const KERNEL_KEY_GROUP: u32 = 0x7fff_f000;
/// Permissions of a key that the kernel reads (rule S16): the possessor may view, search and link it, the owner view
/// it, and the group view it, write to it and set its attributes.
const OF_A_USERS_KERNEL_KEY: u32 = 0x1901_2500;
/// The same for an owner who is root.
const OF_ROOTS_KERNEL_KEY: u32 = 0x1925_0000;

/// The right to instantiate or reject one key.
#[derive(Debug)]
pub(crate) struct Authority {
    key: KeySerial,
    auth_key: KeySerial,
}

/// Proof that a request for a key may be served. Only `upcall::authorise` makes one.
pub(crate) trait Permission {
    /// The key that may be instantiated.
    fn key(&self) -> KeySerial;
}

/// Proof that a key for the kernel has its owner and permissions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PreparedKey(KeySerial);

/// Why a key was not instantiated; comes with the authority, so that the key can be rejected.
#[derive(Debug)]
pub(crate) struct NotInstantiated {
    /// Still valid.
    pub authority: Authority,
    /// The kernel's error.
    pub errno: Errno,
}

impl Authority {
    /// Assumes the authority that the kernel started this process with.
    ///
    /// # Errors
    /// ENOKEY if it has none over this key.
    pub(crate) fn assume(key: KeySerial) -> Result<Self, Errno> {
        let auth_key = KeySerial::new(keyctl::assume_authority(key.raw())?).ok_or(Errno::EPROTO)?;
        Ok(Self { key, auth_key })
    }

    /// The same authority, for a child that inherits it. It ends for both when the key is answered.
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

    /// The kernel's description of the key under construction.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn describe(&self) -> Result<KeyDescription, Errno> {
        KeyDescription::of(self.key)
    }

    /// Sets the timeout after which the key expires even if this program dies. It survives the instantiation.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> Result<(), Errno> {
        keyctl::set_timeout(self.key.raw(), timeout)
    }

    /// Gives the key its provisional payload and links it to this process's own session keyring; by its possession the
    /// monitor may update the key. The keyring is named by its serial, since a special id would mean the requester's.
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

    /// Closes a key of root's programs to everybody but root. If this fails, a possessor has access until the key is
    /// published.
    pub(crate) fn leave_to_root(&self) {
        let _ = keyctl::set_permissions(self.key.raw(), OF_ROOTS_KEY_IN_PROGRESS);
    }

    /// Gives a key for the kernel its provisional payload, which is empty, and lets only [`KERNEL_KEY_GROUP`] write to
    /// it: its possessor, the user, must not.
    ///
    /// The key is given to `owner`, whose context it is. When it ends by an error, a flush or its time, the kernel
    /// unlinks it from its owner's keyring, while the key is linked to that of the real uid. In a setuid program it
    /// would otherwise stay there, dead, and lock that user out. The kernel itself sees to the monitor's possession, so
    /// that no keyring is named.
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

    /// Sets owner, group and permissions of a key for the kernel, which takes more rights than the authority.
    ///
    /// # Errors
    /// The kernel's; EACCES if somebody else has changed the key meanwhile.
    pub(crate) fn prepare_for_kernel(&self, owner: u32) -> Result<PreparedKey, Errno> {
        let permissions = if owner == 0 { OF_ROOTS_KERNEL_KEY } else { OF_A_USERS_KERNEL_KEY };
        let key = self.key.raw();
        keyctl::set_owner(key, owner, KERNEL_KEY_GROUP)
            .and_then(|()| keyctl::set_permissions(key, permissions))?;
        // Until then the requester could give the key a group of its own, or owner and permissions as far as it is its owner.
        let closed = is_closed(&self.describe()?, owner, permissions);
        closed.then_some(PreparedKey(self.key)).ok_or(Errno::EACCES)
    }

    /// Gives a prepared key its empty payload.
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

    /// Rejects the key: its requester gets `errno` at once, and again for [`REJECT_TTL`].
    ///
    /// # Errors
    /// The kernel's if the key is no longer under construction.
    pub(crate) fn reject(self, errno: Errno) -> Result<(), Errno> {
        keyctl::reject(self.key.raw(), REJECT_TTL, errno)
    }
}

/// Whether nobody but us can change a key for the kernel any more.
fn is_closed(key: &KeyDescription, owner: u32, permissions: u32) -> bool {
    (key.uid, key.gid, key.permissions) == (owner, KERNEL_KEY_GROUP, permissions)
}

/// Lets this process write to keys that the kernel reads. Its children inherit that, until they become another user.
///
/// # Errors
/// EPERM without CAP_SETGID, ENOMEM.
pub(crate) fn join_kernel_key_group() -> Result<(), Errno> {
    jail::set_supplementary_group(Some(KERNEL_KEY_GROUP))
}

/// Gives up this process's authority, which is used up. With it the kernel refuses all requests that it makes in this
/// process, such as Lustre's.
pub(crate) fn give_up_used() {
    // The only error is a lack of memory.
    let _ = keyctl::divest_authority();
}

/// Empties the keyring that the kernel made for this process and this key, which a process that has ended keeps until it is
/// reaped. Its links are the key, and keyrings of the requester's.
pub(crate) fn let_go_of_keys(key: KeySerial) {
    // By hand, the session is somebody's own.
    if key_under_construction() == Some(key) {
        let _ = keyctl::clear(keyctl::SESSION_KEYRING);
    }
}

/// The serial of the `_req` keyring that the kernel gave this process.
///
/// # Errors
/// The kernel's.
pub(crate) fn own_session_keyring() -> Result<i32, Errno> {
    keyctl::keyring_id(keyctl::SESSION_KEYRING)
}

/// The key that the kernel has started this process for, from the name of the session keyring that it made:
/// `_req.<key>`. `None` for a process that was not started for a key, such as by hand.
pub(crate) fn key_under_construction() -> Option<KeySerial> {
    let ring = KeySerial::new(keyctl::keyring_id(keyctl::SESSION_KEYRING).ok()?)?;
    let name = KeyDescription::of(ring).ok()?.description;
    std::str::from_utf8(name.strip_prefix(b"_req.")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::named_session::join_session;
    use std::ffi::CString;

    #[test]
    fn a_key_whose_owner_group_or_permissions_somebody_has_changed_is_not_closed() {
        let key = |uid, gid, permissions| KeyDescription {
            key_type: "lgssc".to_owned(),
            uid,
            gid,
            permissions,
            description: Vec::new(),
        };
        let closed = |key| is_closed(&key, 1000, OF_A_USERS_KERNEL_KEY);
        assert!(closed(key(1000, KERNEL_KEY_GROUP, OF_A_USERS_KERNEL_KEY)));
        assert!(!closed(key(1000, 1000, OF_A_USERS_KERNEL_KEY)), "the requester's own group");
        assert!(!closed(key(1001, KERNEL_KEY_GROUP, OF_A_USERS_KERNEL_KEY)));
        assert!(!closed(key(1000, KERNEL_KEY_GROUP, 0x3f3f_3f3f)));
    }

    /// How many links are left in a session of this name that had one, after the upcall for this key.
    fn left_in(name: &str, key: i32) -> usize {
        let name = CString::new(name).unwrap();
        let joining = std::thread::spawn(move || {
            let session = join_session(&name).unwrap();
            keyctl::add(c"user", c"lgss-test", b"x", session).unwrap();
            let_go_of_keys(KeySerial::new(key).unwrap());
            keyctl::links(session).unwrap().len()
        });
        joining.join().unwrap()
    }

    #[test]
    fn a_keyring_that_the_kernel_made_for_the_key_is_emptied_and_no_other() {
        let key = std::process::id().cast_signed();
        assert_eq!(left_in(&format!("_req.{key}"), key), 0);
        assert_eq!(left_in(&format!("_req.{key}"), key + 1), 1);
        assert_eq!(left_in(&format!("lgss-test.{key}"), key), 1);
    }
}
