//! The caller's keyrings: which of them a context may be kept in and looked for in, and which key may be believed (rule
//! S20 of the threat model).
//!
//! A session keyring outlives sudo(8), su(1), setuid programs and daemons that drop their ids. Whoever it belongs to
//! possesses all that is in it, and can plant keys there. Used by the client; a keyring counts by its owner, not its name.

use std::ffi::CString;
use std::thread;

use nix::errno::Errno;
use nix::unistd::{geteuid, getuid};

use crate::key::{KeyDescription, KeySerial};
use crate::sys::keyctl;

/// View for group and others: all the permissions that they may have on a trusted key (keyrings(7)).
const OTHERS_VIEW: u32 = 0x0101;
const OTHERS: u32 = 0x3f3f;

/// The session keyring of the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// It is the caller's.
    Own,
    /// It belongs to this uid.
    Anothers(u32),
    /// It may not even be looked at.
    Closed,
    /// It has ended: EKEYREVOKED, EKEYEXPIRED.
    Dead(Errno),
}

/// The session keyring of the calling thread. A process without one is given the user's default one (user-session-keyring(7)).
pub(crate) fn session() -> Session {
    match keyctl::describe(keyctl::SESSION_KEYRING).and_then(KeyDescription::read) {
        Ok(ring) if ring.key_type == "keyring" && is_callers(ring.uid) => Session::Own,
        Ok(ring) => Session::Anothers(ring.uid),
        Err(errno @ (Errno::EKEYREVOKED | Errno::EKEYEXPIRED)) => Session::Dead(errno),
        Err(_) => Session::Closed,
    }
}

fn is_callers(uid: u32) -> bool {
    [geteuid(), getuid()].iter().any(|own| own.as_raw() == uid)
}

/// Whether the caller is a process of root's that acts for a user by its effective uid. Its session and its user keyring
/// are root's, and root's sessions are handed on by su(1) and daemons to others (rule S20).
pub(super) fn is_root_acting_for_another() -> bool {
    getuid().is_root() && !geteuid().is_root()
}

/// Whether the session keyring leads to the caller's user keyring.
///
/// # Errors
/// The kernel's.
pub(super) fn session_leads_to_user() -> Result<bool, Errno> {
    let name = CString::new(format!("_uid.{}", getuid())).map_err(|_| Errno::EINVAL)?;
    let user = keyctl::keyring_id(keyctl::USER_KEYRING)?;
    Ok(keyctl::search(keyctl::SESSION_KEYRING, c"keyring", &name) == Ok(user))
}

/// Makes the caller a possessor of its user keyring, and so of the contexts there, whatever its session keyring leads
/// to: links the user keyring to the process keyring, which ends with the process.
///
/// # Errors
/// The kernel's: EDQUOT; EACCES if it is not the caller's.
pub(crate) fn possess_user_keyring() -> Result<(), Errno> {
    let user = keyctl::describe(keyctl::USER_KEYRING).and_then(KeyDescription::read)?;
    if !is_callers(user.uid) {
        return Err(Errno::EACCES);
    }
    keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)
}

/// Does `work` in a thread whose session keyring is new and empty, so that nothing is looked for in the caller's.
/// The process keyring is the same, if there was one.
///
/// # Errors
/// Of `work`; EDQUOT without quota for a keyring, EAGAIN without a thread.
pub(super) fn aside<T: Send>(work: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T, Errno> {
    thread::scope(|scope| {
        let apart = move || keyctl::join_anonymous_session().and_then(|_| work());
        let thread = thread::Builder::new().spawn_scoped(scope, apart).map_err(|_| Errno::EAGAIN)?;
        thread.join().unwrap_or(Err(Errno::EIO))
    })
}

/// Ends a key for everybody. The kernel finds an invalidated key in keyrings for a moment longer, so it is taken out of
/// the usual ones before; and since only its possessor may invalidate it, a thread that ends with this holds it until then.
pub(super) fn end(key: KeySerial) {
    let take_out = || {
        for ring in [keyctl::PROCESS_KEYRING, keyctl::SESSION_KEYRING, keyctl::USER_KEYRING] {
            let _ = keyctl::unlink(key.raw(), ring);
        }
        let _ = keyctl::invalidate(key.raw());
    };
    thread::scope(|scope| {
        let held = move || {
            let _ = keyctl::link(key.raw(), keyctl::THREAD_KEYRING);
            take_out();
        };
        if thread::Builder::new().spawn_scoped(scope, held).is_err() {
            take_out();
        }
    });
}

/// Why a key is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// Its type is not `user`.
    #[error("it is no key of type user")]
    Type,
    /// It belongs to this uid.
    #[error("it belongs to uid {0}")]
    Owner(u32),
    /// Others may do more than look at its label.
    #[error("its permissions, {0:#010x}, let others use or change it")]
    Permissions(u32),
}

/// Checks that the upcall made the key for `owner`: anybody can give a key its name.
///
/// # Errors
/// Outer: the kernel's. Inner: the reason not to trust the key.
pub(super) fn judge(key: KeySerial, owner: u32) -> Result<Result<(), Doubt>, Errno> {
    let key = KeyDescription::of(key)?;
    Ok(if key.key_type != "user" {
        Err(Doubt::Type)
    } else if key.uid != owner {
        Err(Doubt::Owner(key.uid))
    } else if key.permissions & OTHERS & !OTHERS_VIEW != 0 {
        Err(Doubt::Permissions(key.permissions))
    } else {
        Ok(())
    })
}

#[cfg(test)]
#[cfg(feature = "upcall")]
mod tests {
    use super::*;

    fn key(permissions: Option<u32>) -> KeySerial {
        let session = keyctl::join_anonymous_session().unwrap();
        let raw = keyctl::add(c"user", c"lgss:0:nfs@rings.test", b"x", session).unwrap();
        permissions.iter().for_each(|&permissions| keyctl::set_permissions(raw, permissions).unwrap());
        KeySerial::new(raw).unwrap()
    }

    /// Needs a kernel with keys, as the whole package does.
    #[test]
    fn a_key_of_another_type_owner_or_with_rights_for_others_is_not_believed() {
        let own = geteuid().as_raw();
        assert_eq!(judge(key(None), own), Ok(Ok(())));
        assert_eq!(judge(key(None), own + 1), Ok(Err(Doubt::Owner(own))));
        for (permissions, believed) in [(0x3f3f_0101, true), (0x3f01_0004, false), (0x3f01_0200, false)] {
            assert_eq!(judge(key(Some(permissions)), own).unwrap().is_ok(), believed, "{permissions:x}");
        }
        let session = keyctl::join_anonymous_session().unwrap();
        let ring = keyctl::add(c"keyring", c"lgss:0:nfs@rings.test", b"", session).unwrap();
        assert_eq!(judge(KeySerial::new(ring).unwrap(), own), Ok(Err(Doubt::Type)));
    }

    #[test]
    fn what_is_done_aside_does_not_see_the_session_and_leaves_it_as_it_is() {
        let session = keyctl::join_anonymous_session().unwrap();
        let planted = keyctl::add(c"user", c"lgss:0:nfs@aside.test", b"x", session).unwrap();
        assert_eq!(aside(|| keyctl::find(c"user", c"lgss:0:nfs@aside.test")), Err(Errno::ENOKEY));
        assert_eq!(keyctl::find(c"user", c"lgss:0:nfs@aside.test"), Ok(planted));
        assert_eq!(keyctl::keyring_id(keyctl::SESSION_KEYRING), Ok(session));
        assert_eq!(self::session(), Session::Own);
    }
}
