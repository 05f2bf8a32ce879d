//! The authority over a key under construction, and the key after it (keyrings(7), "authorization keys").
//!
//! The front assumes the authority and instantiates or rejects; its monitor inherits the authority by fork, as long as
//! the key is under construction, and takes over the live key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::description::KeyDescription;
use super::serial::KeySerial;
use crate::sys::{heir, keyctl};

/// How long a rejected key stays negative: long enough to answer a retry loop, too short to annoy a person.
pub const REJECT_TTL: Duration = Duration::from_secs(2);

/// How long a key that somebody must finish in passing may put off its update.
const PASSING_LIMIT: Duration = Duration::from_millis(500);
/// First and longest pause between two tries to update a key that the kernel has not yet put to use.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// Permissions of a key that the kernel trusts (rule S16): its possessor views, searches and links, its owner views, its
/// group, which is root's, views, writes and sets attributes.
const OF_A_USERS_KERNEL_KEY: u32 = 0x1901_2500;
/// The same for an owner who is root.
const OF_ROOTS_KERNEL_KEY: u32 = 0x1925_0000;
/// Of a program's key of root's (rule S20): its possessor views, and root, its owner, does everything; but reads it only
/// when there is something to read, so that it can be proved that the worker does not possess it.
const OF_ROOTS_KEY: u32 = 0x013f_0000;
const OF_ROOTS_KEY_IN_PROGRESS: u32 = 0x033d_0000;

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

/// Proof that a key of the kernel's has its permissions.
#[derive(Debug, Clone, Copy)]
pub struct Prepared(KeySerial);

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
            Ok(()) => Ok(LiveKey::taken_over(self.key, Consumer::Program)),
            Err(errno) => Err(NotInstantiated { authority: self, errno }),
        }
    }

    /// Leaves a program's key, of root's, to root. Where that cannot be, possession counts until it is published.
    pub fn leave_to_root(&self) {
        let _ = keyctl::set_permissions(self.key.raw(), OF_ROOTS_KEY_IN_PROGRESS);
    }

    /// Gives a key of the kernel's its provisional payload, which is none, and lets root's group alone write to it: its
    /// possessor, the user, must not. It is given to `owner`, whose context it is: when it ends, by an error, a flush or its
    /// time, the kernel takes it out of its owner's keyring, and it lies in that of the real uid; in a setuid program it
    /// would stay there, dead, and that user be locked out. Possession for the monitor is up to the kernel, so that no
    /// keyring is named.
    ///
    /// # Errors
    /// As [`Authority::instantiate`].
    pub fn instantiate_for_kernel(
        self,
        permission: &impl Permission,
        owner: u32,
    ) -> Result<LiveKey, NotInstantiated> {
        match self.prepare_for_kernel(owner) {
            Ok(prepared) => self.instantiate_prepared(permission, prepared),
            Err(errno) => Err(NotInstantiated { authority: self, errno }),
        }
    }

    /// What that needs more rights for than the authority: who may do what with the key.
    ///
    /// # Errors
    /// The kernel's.
    pub fn prepare_for_kernel(&self, owner: u32) -> Result<Prepared, Errno> {
        let permissions = if owner == 0 { OF_ROOTS_KERNEL_KEY } else { OF_A_USERS_KERNEL_KEY };
        let key = self.key.raw();
        keyctl::set_owner(key, owner, 0).and_then(|()| keyctl::set_permissions(key, permissions))?;
        Ok(Prepared(self.key))
    }

    /// The rest.
    ///
    /// # Errors
    /// As [`Authority::instantiate`].
    pub fn instantiate_prepared(
        self,
        permission: &impl Permission,
        Prepared(prepared): Prepared,
    ) -> Result<LiveKey, NotInstantiated> {
        if permission.key() != self.key || prepared != self.key {
            return Err(NotInstantiated { authority: self, errno: Errno::EPERM });
        }
        match keyctl::instantiate(self.key.raw(), &[], 0) {
            Ok(()) => Ok(LiveKey::taken_over(self.key, Consumer::Kernel)),
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

/// The key that the kernel has started this process for, by the name of the session keyring that it made: `_req.<key>`.
/// `None` for a process that was not started for a key, as by hand.
pub fn key_under_construction() -> Option<KeySerial> {
    let ring = KeySerial::new(keyctl::keyring_id(keyctl::SESSION_KEYRING).ok()?)?;
    let name = KeyDescription::of(ring).ok()?.description;
    std::str::from_utf8(name.strip_prefix(b"_req.")?).ok()?.parse().ok()
}

/// An instantiated key whose negotiation goes on.
#[derive(Debug)]
#[must_use = "dropping it fails the key"]
pub struct LiveKey {
    key: KeySerial,
    consumer: Consumer,
    finished: bool,
    /// A keyring that it has to be taken out of before it fails.
    ring: Option<KeySerial>,
}

/// Who reads the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumer {
    /// Programs: a key of type `user`.
    Program,
    /// The kernel: a key of type `lgssc`.
    Kernel,
}

/// How payloads begin that hold no context: window 0, then the error (docs/formats.md).
fn payload_start(errno: Errno) -> [u8; 8] {
    let [a, b, c, d] = (-(errno as i32)).to_ne_bytes();
    [0, 0, 0, 0, a, b, c, d]
}

impl LiveKey {
    /// Takes over the key that the front, another process, has instantiated.
    pub fn taken_over(key: KeySerial, consumer: Consumer) -> Self {
        Self { key, consumer, finished: false, ring: None }
    }

    /// The same, of a key that lies in a keyring in which the kernel does not look for it when it fails: that of the user in
    /// another user namespace. There the next request would find it, dead.
    pub fn in_foreign_ring(mut self, ring: Option<KeySerial>) -> Self {
        self.ring = ring;
        self
    }

    /// Not after the failing update, when a new key of that description may lie there.
    fn leave_foreign_ring(&mut self) {
        if let Some(ring) = self.ring.take() {
            let _ = keyctl::unlink(self.key.raw(), ring.raw());
        }
    }

    /// Who reads it.
    pub fn consumer(&self) -> Consumer {
        self.consumer
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
        if let Err(errno) = self.open_to_root() {
            return Err((self, errno));
        }
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

impl LiveKey {
    /// Only root reads what is root's: su(1) hands on a session that leads to its user keyring.
    fn open_to_root(&self) -> Result<(), Errno> {
        let is_roots = KeyDescription::of(self.key).is_ok_and(|key| key.uid == 0);
        if is_roots { keyctl::set_permissions(self.key.raw(), OF_ROOTS_KEY) } else { Ok(()) }
    }

    /// Gives the kernel the payload for good, and takes the timeout away: the context's end is in the payload, and the
    /// kernel drops the key when it sees fit. In a keyring in which it does not look for it then, the key expires before, which
    /// the next request passes over. As long as the kernel has not put the key to use, it is tried again.
    ///
    /// # Errors
    /// The key, still live, with the kernel's error; EAGAIN if it was not put to use by `deadline`.
    pub fn import(
        mut self,
        payload: &[u8],
        lifetime: Duration,
        deadline: Instant,
    ) -> Result<(), (Self, Errno)> {
        match update_when_bound(self.key, payload, deadline) {
            Ok(()) => {
                self.finished = true;
                // Root's keys are gone by now.
                let _ = match self.ring {
                    Some(_) => keyctl::set_timeout(self.key.raw(), lifetime),
                    None => keyctl::clear_timeout(self.key.raw()),
                };
                Ok(())
            }
            Err(errno) => Err((self, errno)),
        }
    }

    /// Tells the kernel of the failure. It invalidates the key then, and nothing else may be done to it: the requester's
    /// next key has the same description.
    ///
    /// # Errors
    /// As [`LiveKey::import`].
    pub fn fail_import(mut self, payload: &[u8], deadline: Instant) -> Result<(), (Self, Errno)> {
        self.leave_foreign_ring();
        match update_when_bound(self.key, payload, deadline) {
            Ok(()) => {
                self.finished = true;
                Ok(())
            }
            Err(errno) => Err((self, errno)),
        }
    }
}

/// The kernel answers EAGAIN until the requester, who has just been released, has put the key to use.
fn update_when_bound(key: KeySerial, payload: &[u8], deadline: Instant) -> Result<(), Errno> {
    let mut pause = FIRST_PAUSE;
    loop {
        match keyctl::update(key.raw(), payload) {
            Err(Errno::EAGAIN) if Instant::now() < deadline => {
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            other => return other,
        }
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
        let _ = heir::spawn_guard(&guarded.done, conclude, guarded);
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
        drop(LiveKey::taken_over(guarded.key, Consumer::Program));
    } else {
        let _ = keyctl::set_timeout(guarded.key.raw(), guarded.timeout);
    }
}

impl Drop for LiveKey {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.leave_foreign_ring();
        // EIO, and a GSS status of 0: the same for both consumers.
        let abandoned = [payload_start(Errno::EIO).as_slice(), &[0; 4]].concat();
        let updated = update_when_bound(self.key, &abandoned, Instant::now() + PASSING_LIMIT);
        if updated.is_ok() && self.consumer == Consumer::Program {
            let _ = keyctl::set_timeout(self.key.raw(), REJECT_TTL);
        }
    }
}
