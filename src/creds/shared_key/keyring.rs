//! Reads shared keys in root's user keyring, from a process whose session keyring does not lead there: the monitor has
//! that of the request.
//!
//! Both tools let root read the keys that they load. One that was added otherwise can be read by possession only, and a
//! process possesses what is in its keyrings. So a found key is linked to the process keyring until it has been read. The user keyring itself is not: such links take a lock that any user can hold for long.

use std::ffi::CString;

use nix::errno::Errno;

use super::key::LENGTH;
use crate::secret::Secret;
use crate::sys::keyctl;

/// The rights of group and others to read, to write, to link and to change what belongs to a key (keyctl_setperm(3)). Who may
/// link a key can come to possess it, and has its possessor's rights then.
const OTHERS_READ_OR_CHANGE: u32 = 0x3636;

/// Whether others than its owner and possessors may read or change a key with these permissions, as with Lustre's own tool.
pub(crate) fn is_open(permissions: u32) -> bool {
    permissions & OTHERS_READ_OR_CHANGE != 0
}

/// Why a key that is there cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupFailure {
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Somebody has ended it.
    #[error("it has been revoked")]
    Revoked,
    /// Longer than a shared key.
    #[error("it has more than {LENGTH} bytes")]
    TooLong,
    /// Something else.
    #[error("it cannot be read: {}", .0.desc())]
    Unreadable(Errno),
}

/// A key that was found.
#[derive(Debug)]
pub(crate) struct FoundKey {
    /// Its payload.
    pub form: Secret,
    /// As [`is_open`] has it.
    pub is_open: bool,
}

/// The key of this name in the user keyring of the calling process; `None` if there is none.
///
/// # Errors
/// [`LookupFailure`].
pub(crate) fn find(name: &str) -> Result<Option<FoundKey>, LookupFailure> {
    let description = CString::new(name).map_err(|_| LookupFailure::Unreadable(Errno::EINVAL))?;
    let rings = (keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING);
    let key = match keyctl::search_and_link(rings.0, c"user", &description, rings.1) {
        Ok(key) => key,
        Err(Errno::ENOKEY) => return Ok(None),
        Err(errno) => return Err(failure(errno)),
    };
    let payload = keyctl::read_at_most(key, LENGTH);
    let permissions = keyctl::describe(key).ok().and_then(|description| permissions(&description));
    let open = permissions.is_none_or(is_open);
    // Whatever the outcome: the key is not ours to keep.
    let _ = keyctl::unlink(key, keyctl::PROCESS_KEYRING);
    match payload {
        // Who has removed it meanwhile wants us not to use it.
        Err(Errno::ENOKEY) => Ok(None),
        Err(errno) => Err(failure(errno)),
        Ok(mut payload) => {
            let form = Secret::new(std::mem::take(&mut *payload));
            Ok(Some(FoundKey { form, is_open: open }))
        }
    }
}

/// The permissions in `type;uid;gid;permissions;description` (keyctl_describe(3)).
fn permissions(description: &[u8]) -> Option<u32> {
    let field = description.split(|&byte| byte == b';').nth(3)?;
    u32::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
}

fn failure(errno: Errno) -> LookupFailure {
    match errno {
        Errno::EKEYEXPIRED => LookupFailure::Expired,
        Errno::EKEYREVOKED => LookupFailure::Revoked,
        Errno::EMSGSIZE => LookupFailure::TooLong,
        errno => LookupFailure::Unreadable(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// A key of the user keyring that is gone when this is dropped; its session cannot reach that keyring.
    struct Loaded(keyctl::RawSerial, String);

    impl Loaded {
        fn new(test: &str, payload: &[u8]) -> Self {
            keyctl::join_anonymous_session().unwrap();
            let name = format!("lustre:unit{}{test}", std::process::id());
            let description = CString::new(name.as_str()).unwrap();
            let key = keyctl::add(c"user", &description, payload, keyctl::USER_KEYRING).unwrap();
            Self(key, name)
        }

        fn find(&self) -> Result<Option<Vec<u8>>, LookupFailure> {
            let found = find(&self.1).map(|found| found.map(|key| key.form.expose().to_vec()));
            assert_eq!(keyctl::read(self.0).err(), Some(Errno::EACCES), "the process has kept the key");
            found
        }

        /// By possession, which the right to change it needs.
        fn possessed(&self, change: impl FnOnce(keyctl::RawSerial)) {
            let description = CString::new(self.1.as_str()).unwrap();
            let rings = (keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING);
            keyctl::search_and_link(rings.0, c"user", &description, rings.1).unwrap();
            change(self.0);
            keyctl::unlink(self.0, keyctl::PROCESS_KEYRING).unwrap();
        }
    }

    impl Drop for Loaded {
        fn drop(&mut self) {
            let _ = keyctl::unlink(self.0, keyctl::USER_KEYRING);
        }
    }

    #[test]
    fn a_key_is_read_that_only_its_possessor_may_read_and_is_not_kept() {
        let loaded = Loaded::new("read", b"payload");
        assert_eq!(loaded.find(), Ok(Some(b"payload".to_vec())));
        assert_eq!(loaded.find(), Ok(Some(b"payload".to_vec())));
        assert!(!find(&loaded.1).unwrap().unwrap().is_open);
    }

    #[test]
    fn a_key_is_read_that_lustres_tool_has_opened_to_all() {
        let loaded = Loaded::new("open", b"payload");
        loaded.possessed(|key| keyctl::set_permissions(key, 0x3f3f_3f3f).unwrap());
        let found = find(&loaded.1).unwrap().unwrap();
        assert_eq!((found.form.expose(), found.is_open), (&b"payload"[..], true));
    }

    #[test]
    fn a_key_is_open_to_others_by_each_right_that_lets_them_read_or_change_it() {
        for closed in [0x3f3f_0000, 0x3f01_0000, 0x3f3f_0101, 0x3f3f_0909] {
            assert!(!is_open(closed), "{closed:08x}");
        }
        for open in [0x3f3f_3f3f, 0x3f3f_0200, 0x3f3f_0002, 0x3f3f_0004, 0x3f3f_0010, 0x3f3f_2000] {
            assert!(is_open(open), "{open:08x}");
        }
    }

    #[test]
    fn no_key_is_no_failure() {
        let loaded = Loaded::new("none", b"payload");
        assert!(find(&format!("{}x", loaded.1)).unwrap().is_none());
    }

    #[test]
    fn revoked_expired_and_oversized_keys_are_told_apart() {
        let revoked = Loaded::new("revoked", b"payload");
        revoked.possessed(|key| keyctl::revoke(key).unwrap());
        assert_eq!(find(&revoked.1).map(drop), Err(LookupFailure::Revoked));
        let long = Loaded::new("long", &[0; LENGTH + 1]);
        assert_eq!(long.find(), Err(LookupFailure::TooLong));
        let expired = Loaded::new("expired", b"payload");
        expired.possessed(|key| keyctl::set_timeout(key, Duration::from_secs(1)).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while find(&expired.1).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(find(&expired.1).map(drop), Err(LookupFailure::Expired));
    }
}
