//! An instantiated key, which somebody must finish.
//!
//! The monitor takes it over from the front. Invariant: it is published or failed; dropping it fails it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::description::KeyDescription;
use super::serial::KeySerial;
use crate::sys::{heir, keyctl};

/// How long a rejected key stays negative: long enough to answer a retry loop, too short to annoy a person.
pub(crate) const REJECT_TTL: Duration = Duration::from_secs(2);

/// Of a program's key of root's (rule S20): its possessor views, and root, its owner, does everything; but reads it only
/// when there is something to read, so that it can be proved that the worker does not possess it.
const OF_ROOTS_KEY: u32 = 0x013f_0000;
pub(super) const OF_ROOTS_KEY_IN_PROGRESS: u32 = 0x033d_0000;
/// How long a key that is finished in passing may put off its update.
const PASSING_LIMIT: Duration = Duration::from_millis(500);
/// First and longest pause between two tries to update a key that the kernel has not yet put to use.
const FIRST_UPDATE_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_UPDATE_PAUSE: Duration = Duration::from_millis(16);

/// An instantiated key whose negotiation goes on.
#[derive(Debug)]
#[must_use = "dropping it fails the key"]
pub(crate) struct LiveKey {
    key: KeySerial,
    consumer: Consumer,
    finished: bool,
    /// A keyring to take it out of before it fails.
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

/// Payloads that hold no context: window 0, the error, and a GSS status of 0, which is the same for both consumers
/// (docs/formats.md).
fn without_context(errno: Errno) -> [u8; 12] {
    let [a, b, c, d] = (-(errno as i32)).to_ne_bytes();
    [0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0]
}
/// Length in bytes of the part that both share.
const PAYLOAD_START: usize = 8;

impl LiveKey {
    /// Takes over the key that the front, another process, has instantiated.
    pub(crate) fn taken_over(key: KeySerial, consumer: Consumer) -> Self {
        Self { key, consumer, finished: false, ring: None }
    }

    /// The same, of a key that lies in a keyring in which the kernel does not look for it when it fails: that of the user in
    /// another user namespace. There the next request would find it, dead.
    pub(crate) fn in_foreign_ring(mut self, ring: Option<KeySerial>) -> Self {
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
    pub(crate) fn consumer(&self) -> Consumer {
        self.consumer
    }

    /// Fails it with EIO, as dropping it does: by calls that need no heap, since the one there is may be that of a process
    /// killed in the middle of an allocation.
    pub(crate) fn fail(self) {}

    /// Lets go of a key that the monitor finishes.
    pub(crate) fn hand_over(mut self) {
        self.finished = true;
    }

    /// The key.
    pub(crate) fn key(&self) -> KeySerial {
        self.key
    }

    /// Brings forward the end that the key has if nobody finishes it.
    pub(crate) fn shorten(&self, timeout: Duration) {
        // If this fails, the longer timeout of the instantiation stays.
        let _ = keyctl::set_timeout(self.key.raw(), timeout);
    }

    /// Replaces the provisional payload for good. The update clears the expiry of a `user` key, so that it is set
    /// again at once; a guard stands ready to do that should this process be killed in between.
    ///
    /// # Errors
    /// The key, still live, with the kernel's error: EDQUOT, EKEYREVOKED, EKEYEXPIRED, EACCES.
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
                // No context is better than one without an end.
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
    pub(crate) fn import(
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

/// The kernel answers EAGAIN until the requester, who has just been released, has put the key to use.
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

/// A process that finishes a key if its parent ends before it says that it has done so itself.
struct ExpiryGuard(&'static Guarded);

struct Guarded {
    key: KeySerial,
    timeout: Duration,
    done: AtomicBool,
}

impl ExpiryGuard {
    /// If no process can be started, the update goes on without a guard.
    fn over(key: KeySerial, timeout: Duration) -> Self {
        let guarded = Box::leak(Box::new(Guarded { key, timeout, done: AtomicBool::new(false) }));
        let _ = heir::spawn_guard(&guarded.done, conclude, guarded);
        Self(guarded)
    }

    fn dismiss(self) {
        self.0.done.store(true, Ordering::Release);
    }
}

/// Acts for a process that has died: a key that it had updated gets its expiry, another one is failed.
fn conclude(guarded: &'static Guarded) {
    // Room for a provisional payload; one with a context is longer, and not read.
    let mut payload = [0; 64];
    let length = keyctl::read_into(guarded.key.raw(), &mut payload);
    let start = length.ok().and_then(|length| payload.get(..length)?.get(..PAYLOAD_START));
    if start == without_context(Errno::EINPROGRESS).get(..PAYLOAD_START) {
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
            update_when_bound(self.key, &without_context(Errno::EIO), Instant::now() + PASSING_LIMIT);
        if updated.is_ok() && self.consumer == Consumer::Program {
            let _ = keyctl::set_timeout(self.key.raw(), REJECT_TTL);
        }
    }
}
