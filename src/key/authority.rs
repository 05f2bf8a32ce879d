//! The authority over a key under construction, and the key after it (keyrings(7), "authorization keys").
//!
//! The front assumes the authority and instantiates or rejects; its monitor inherits the authority by fork, as long as
//! the key is under construction, and takes over the live key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::{KeyDescription, KeySerial};
use crate::sys::{keyctl, process};

/// How long a rejected key stays negative: long enough to answer a retry loop, too short to annoy a person.
pub const REJECT_TTL: Duration = Duration::from_secs(2);

/// The right to instantiate or reject one key.
#[derive(Debug)]
pub struct Authority {
    key: KeySerial,
    auth_key: KeySerial,
}

/// Proof that a request for a key may be served; made by `upcall::authorise` alone.
pub trait Permission {
    /// The key that it is for.
    fn key(&self) -> KeySerial;
}

/// Why a key was not instantiated; the authority comes back so that it can be rejected.
#[derive(Debug)]
pub struct NotInstantiated {
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
    pub fn assume(key: KeySerial) -> Result<Self, Errno> {
        let auth_key = KeySerial::new(keyctl::assume_authority(key.raw())?).ok_or(Errno::EPROTO)?;
        Ok(Self { key, auth_key })
    }

    /// The same authority in the child that inherits it; it ends for both when the key is answered.
    #[must_use]
    pub fn inherited(&self) -> Self {
        Self { key: self.key, auth_key: self.auth_key }
    }

    /// The key under construction.
    pub fn key(&self) -> KeySerial {
        self.key
    }

    /// The authorisation key, whose line in /proc/keys names the requester.
    pub fn auth_key(&self) -> KeySerial {
        self.auth_key
    }

    /// What the kernel says of the key under construction.
    ///
    /// # Errors
    /// The kernel's.
    pub fn describe(&self) -> Result<KeyDescription, Errno> {
        KeyDescription::of(self.key)
    }

    /// Sets the timeout that ends the key whatever becomes of us; it survives the instantiation.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_timeout(&self, timeout: Duration) -> Result<(), Errno> {
        keyctl::set_timeout(self.key.raw(), timeout)
    }

    /// Gives the key its provisional payload and links it to this process's own session keyring, whose possession is
    /// what allows the monitor to update it: a special id would mean the requester's keyring here.
    ///
    /// # Errors
    /// [`NotInstantiated`] with EDQUOT and others of the kernel's, EPERM if the permission is for another key.
    pub fn instantiate(
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
            Ok(()) => Ok(LiveKey { key: self.key, finished: false }),
            Err(errno) => Err(NotInstantiated { authority: self, errno }),
        }
    }

    /// Refuses the request: the requester gets `errno` at once, and again for two seconds.
    ///
    /// # Errors
    /// The kernel's, when the key is no longer under construction.
    pub fn reject(self, errno: Errno) -> Result<(), Errno> {
        keyctl::reject(self.key.raw(), REJECT_TTL, errno)
    }
}

/// The `_req` keyring that the kernel gave this process, by its positive id.
///
/// # Errors
/// The kernel's.
pub fn own_session_keyring() -> Result<i32, Errno> {
    keyctl::keyring_id(keyctl::SESSION_KEYRING)
}

/// An instantiated key whose negotiation goes on.
#[derive(Debug)]
#[must_use = "dropping it fails the key"]
pub struct LiveKey {
    key: KeySerial,
    finished: bool,
}

/// How payloads of `user` keys begin that hold no context: window 0, then the error (docs/formats.md).
fn payload_start(errno: Errno) -> [u8; 8] {
    let [a, b, c, d] = (-(errno as i32)).to_ne_bytes();
    [0, 0, 0, 0, a, b, c, d]
}

impl LiveKey {
    /// Takes over the key that the front, another process, has instantiated.
    pub fn taken_over(key: KeySerial) -> Self {
        Self { key, finished: false }
    }

    /// Lets go of a key that the monitor finishes.
    pub fn hand_over(mut self) {
        self.finished = true;
    }

    /// The key.
    pub fn key(&self) -> KeySerial {
        self.key
    }

    /// Brings the end forward that the key has if nobody finishes it.
    pub fn shorten(&self, timeout: Duration) {
        // If this fails, the longer timeout that it was instantiated with stays.
        let _ = keyctl::set_timeout(self.key.raw(), timeout);
    }

    /// Replaces the provisional payload for good. The update clears the expiry of a `user` key, so that it is set
    /// again at once; a guard stands ready to do that should this process be killed in between.
    ///
    /// # Errors
    /// The key, still live, with the kernel's error: EDQUOT, EKEYREVOKED, EKEYEXPIRED, EACCES.
    pub fn publish(mut self, payload: &[u8], timeout: Duration) -> Result<(), (Self, Errno)> {
        let guard = ExpiryGuard::over(self.key, timeout);
        let updated = keyctl::update(self.key.raw(), payload);
        let expires = updated.and_then(|()| keyctl::set_timeout(self.key.raw(), timeout));
        guard.dismiss();
        match (updated, expires) {
            (Err(errno), _) => return Err((self, errno)),
            (Ok(()), Err(errno)) => {
                self.finished = true;
                // A context without an end must not stay: better none.
                let _ = keyctl::revoke(self.key.raw());
                return Err((self, errno));
            }
            (Ok(()), Ok(())) => self.finished = true,
        }
        Ok(())
    }
}

/// A process that finishes a key if its parent ends before it says that it has done so itself.
struct ExpiryGuard(&'static Guarded);

struct Guarded {
    key: KeySerial,
    timeout: Duration,
    done: AtomicBool,
}

impl ExpiryGuard {
    /// Without a guard, if there can be no process, it is as it would be without this.
    fn over(key: KeySerial, timeout: Duration) -> Self {
        let guarded = Box::leak(Box::new(Guarded { key, timeout, done: AtomicBool::new(false) }));
        let _ = process::spawn_guard(&guarded.done, conclude, guarded);
        Self(guarded)
    }

    fn dismiss(self) {
        self.0.done.store(true, Ordering::Release);
    }
}

/// In the place of a process that has died: a key that it had updated expires, one that it had not is failed.
fn conclude(guarded: &'static Guarded) {
    if keyctl::read(guarded.key.raw())
        .is_ok_and(|payload| payload.starts_with(&payload_start(Errno::EINPROGRESS)))
    {
        drop(LiveKey::taken_over(guarded.key));
    } else {
        let _ = keyctl::set_timeout(guarded.key.raw(), guarded.timeout);
    }
}

impl Drop for LiveKey {
    fn drop(&mut self) {
        // EIO, and a GSS status of 0.
        let abandoned = [payload_start(Errno::EIO).as_slice(), &[0; 4]].concat();
        if !self.finished && keyctl::update(self.key.raw(), &abandoned).is_ok() {
            let _ = keyctl::set_timeout(self.key.raw(), REJECT_TTL);
        }
    }
}
