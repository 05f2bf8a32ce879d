//! An instantiated key, which must be finished.
//!
//! The monitor takes it over from the front. Invariant: it is published or failed; dropping it fails it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::description::KeyDescription;
use super::serial::KeySerial;
use crate::sys::{heir, keyctl};
use crate::wire::without_context;

/// How long a rejected key stays negative: long enough to answer a loop of tries, too short to annoy a person.
pub(crate) const REJECT_TTL: Duration = Duration::from_secs(2);

/// Permissions of a key of root's program (rule S20): the possessor may view it, and root, its owner, do everything.
const OF_ROOTS_KEY: u32 = 0x013f_0000;
/// The same while the negotiation goes on, but only a possessor may read the key: a read that is denied to root proves
/// that the worker does not possess it.
pub(super) const OF_ROOTS_KEY_IN_PROGRESS: u32 = 0x033d_0000;
/// How long a dropped key may take until its update is accepted.
const PASSING_LIMIT: Duration = Duration::from_millis(500);
/// First and longest interval of tries to update a key that the kernel has not yet bound to a context.
const FIRST_UPDATE_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_UPDATE_PAUSE: Duration = Duration::from_millis(16);

/// An instantiated key whose negotiation goes on.
#[derive(Debug)]
#[must_use = "dropping it fails the key"]
pub(crate) struct LiveKey {
    key: KeySerial,
    consumer: Consumer,
    finished: bool,
    /// A keyring that the key is unlinked from before it fails.
    ring: Option<KeySerial>,
}

/// Who reads the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// Programs: a key of type `user`.
    Program,
    /// The kernel: a key of type `lgssc`.
    Kernel,
}

/// Length in bytes of window and error, by which a provisional payload is recognised.
const PAYLOAD_START: usize = 8;

impl LiveKey {
    /// Takes over the key that the front, another process, has instantiated.
    pub(crate) fn taken_over(key: KeySerial, consumer: Consumer) -> Self {
        Self { key, consumer, finished: false, ring: None }
    }

    /// The same, for a key that is linked to a keyring from which the kernel does not remove it when it fails: the
    /// user's keyring in another user namespace. The next request would find the dead key there.
    pub(crate) fn in_foreign_ring(mut self, ring: Option<KeySerial>) -> Self {
        self.ring = ring;
        self
    }

    /// To be called before the failing update: after it a new key of the same description may be linked there.
    fn leave_foreign_ring(&mut self) {
        if let Some(ring) = self.ring.take() {
            let _ = keyctl::unlink(self.key.raw(), ring.raw());
        }
    }

    /// Who reads it.
    pub(crate) fn consumer(&self) -> Consumer {
        self.consumer
    }

    /// Fails the key with EIO, as dropping it does. Needs no heap, since the heap may be that of a process that was
    /// killed in the middle of an allocation.
    pub(crate) fn fail(self) {}

    /// Gives up the key without finishing it: the monitor does that, or nobody can.
    pub(crate) fn hand_over(mut self) {
        self.finished = true;
    }

    /// The key.
    pub(crate) fn key(&self) -> KeySerial {
        self.key
    }

    /// Shortens the timeout after which the key expires unfinished.
    pub(crate) fn shorten(&self, timeout: Duration) {
        // If this fails, the longer timeout of the instantiation stays.
        let _ = keyctl::set_timeout(self.key.raw(), timeout);
    }

    /// Replaces the provisional payload for good. The update clears the expiry of a `user` key, which is set again at
    /// once; a guard does that if this process is killed in between.
    ///
    /// # Errors
    /// The key with the kernel's error: EDQUOT, EKEYREVOKED, EKEYEXPIRED, EACCES. It is still live,
    /// except when the update worked but the timeout could not be set: then it is revoked.
    pub(crate) fn publish(mut self, payload: &[u8], timeout: Duration) -> Result<(), (Self, Errno)> {
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
                // No context is better than one that never expires.
                let _ = keyctl::revoke(self.key.raw());
                return Err((self, errno));
            }
            (Ok(()), Ok(())) => self.finished = true,
        }
        Ok(())
    }
}

impl LiveKey {
    /// Lets root read its key, and only root: a session that su(1) hands on leads to root's user keyring.
    fn open_to_root(&self) -> Result<(), Errno> {
        let is_roots = KeyDescription::of(self.key).is_ok_and(|key| key.uid == 0);
        if is_roots { keyctl::set_permissions(self.key.raw(), OF_ROOTS_KEY) } else { Ok(()) }
    }

    /// Gives the kernel the payload for good, and takes the timeout away: the context's end is in the payload, and the
    /// kernel drops the key when it sees fit. In a keyring from which it would not remove the key, the key keeps a
    /// timeout and expires before; the next request ignores an expired key. While the kernel has not yet bound the key
    /// to a context, tries again.
    ///
    /// # Errors
    /// The key, still live, with the kernel's error; EAGAIN if it was not bound by `deadline`.
    pub(crate) fn import(
        mut self,
        payload: &[u8],
        lifetime: Duration,
        deadline: Instant,
    ) -> Result<(), (Self, Errno)> {
        match update_when_bound(self.key, payload, deadline) {
            Ok(()) => {
                self.finished = true;
                // The result does not matter: root's keys are gone by now.
                let _ = match self.ring {
                    Some(_) => keyctl::set_timeout(self.key.raw(), lifetime),
                    None => keyctl::clear_timeout(self.key.raw()),
                };
                Ok(())
            }
            Err(errno) => Err((self, errno)),
        }
    }

    /// Gives the kernel the failure. The kernel then invalidates the key, and nothing else may be done to it: the
    /// requester's next key has the same description.
    ///
    /// # Errors
    /// As [`LiveKey::import`].
    pub(crate) fn fail_import(mut self, payload: &[u8], deadline: Instant) -> Result<(), (Self, Errno)> {
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

/// The kernel answers EAGAIN until the requester, which has just been released, has bound the key to a context.
fn update_when_bound(key: KeySerial, payload: &[u8], deadline: Instant) -> Result<(), Errno> {
    let mut pause = FIRST_UPDATE_PAUSE;
    loop {
        match keyctl::update(key.raw(), payload) {
            Err(Errno::EAGAIN) if Instant::now() < deadline => {
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_UPDATE_PAUSE);
            }
            other => return other,
        }
    }
}

/// A process that finishes a key if its parent ends before it has dismissed this guard.
struct ExpiryGuard(&'static Guarded);

struct Guarded {
    key: KeySerial,
    timeout: Duration,
    done: AtomicBool,
}

impl ExpiryGuard {
    /// Starts a guard. If no process can be started, the update goes on without one.
    fn over(key: KeySerial, timeout: Duration) -> Self {
        let guarded = Box::leak(Box::new(Guarded { key, timeout, done: AtomicBool::new(false) }));
        let _ = heir::spawn_guard(&guarded.done, conclude, guarded);
        Self(guarded)
    }

    fn dismiss(self) {
        self.0.done.store(true, Ordering::Release);
    }
}

/// Acts for a process that has died: sets the expiry of a key that it had updated, fails one that it had not.
fn conclude(guarded: &'static Guarded) {
    // Room for a provisional payload. One with a context is longer and is not read.
    let mut payload = [0; 64];
    let length = keyctl::read_into(guarded.key.raw(), &mut payload);
    let start = length.ok().and_then(|length| payload.get(..length)?.get(..PAYLOAD_START));
    if start == without_context(Errno::EINPROGRESS, 0).get(..PAYLOAD_START) {
        LiveKey::taken_over(guarded.key, Consumer::Program).fail();
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
        let updated =
            update_when_bound(self.key, &without_context(Errno::EIO, 0), Instant::now() + PASSING_LIMIT);
        if updated.is_ok() && self.consumer == Consumer::Program {
            let _ = keyctl::set_timeout(self.key.raw(), REJECT_TTL);
        }
    }
}
