//! What the kernel shows of the requester: who asks, and from where (rules S1, S6).
//!
//! Called by the front once the watchdog exists, since looking at a requester may block.

use nix::errno::Errno;

use super::claim::Claim;
use super::order::Order;
use super::refusal::refused;
use crate::event::{Cause, Failure, Stage};
use crate::identity::key_list::Bound;
use crate::identity::requester::{self, Origin, Requester, RequesterError, Wait};
use crate::key::auth_line::Expected;
use crate::key::{Authority, KeyDescription, KeySerial};

/// Who has seen the requester.
#[derive(Debug)]
pub(super) enum Witness {
    /// The requester's thread keyring is the user keyring of the uid in the callout: that is how Lustre asks for ordinary
    /// users, and no program can. Nothing else need be read, which makes the most frequent request the cheapest.
    ThreadRing,
    /// The requester, as /proc shows it.
    Task(Requester),
}

impl Witness {
    /// Finds one; `look` is called before the requester is looked at.
    ///
    /// # Errors
    /// Rule S6, as a [`Failure`].
    pub(super) fn of(
        authority: &Authority,
        claim: &Claim<'_>,
        kernel: &KeyDescription,
        look: impl FnOnce(),
    ) -> Result<Self, Failure> {
        if let Order::Lustre(callout) = claim.order
            && !callout.roles.any()
            && is_user_keyring(claim.thread_ring, callout.uid)
        {
            // Its root directory and its environment remain.
            look();
            return Ok(Self::ThreadRing);
        }
        let expected = Expected {
            auth_key: authority.auth_key(),
            key: authority.key(),
            uid: kernel.uid,
            gid: kernel.gid,
            callout_length: claim.callout_length,
        };
        let bound = match claim.order {
            Order::Program { .. } => Bound::OF_A_PROGRAM,
            Order::Lustre(_) => Bound::OF_THE_KERNEL,
        };
        let tid = requester::find(expected, bound).map_err(gone)?;
        look();
        Requester::look_at(tid).map(Self::Task).map_err(gone)
    }

    /// Who waits for the answer.
    pub(super) fn waits(&self) -> Wait {
        match self {
            Self::Task(Requester { origin: Origin::Kernel(waits), .. }) => *waits,
            Self::Task(_) | Self::ThreadRing => Wait::Other,
        }
    }
}

/// Whether `ring` is the keyring `_uid.<uid>` of an ordinary user.
fn is_user_keyring(ring: i32, uid: u32) -> bool {
    let described = KeySerial::new(ring).and_then(|ring| KeyDescription::of(ring).ok());
    uid != 0 && described.is_some_and(|ring| is_keyring_of(&ring, uid))
}

fn is_keyring_of(ring: &KeyDescription, uid: u32) -> bool {
    let name = format!("_uid.{uid}");
    ring.key_type == "keyring" && ring.uid == uid && ring.description == name.as_bytes()
}

/// The keyring in which the kernel finds a user's key of Lustre's but does not look for it when the key fails: not that of
/// the key's owner by its uid here, but its one in another user namespace. It can be seen by the authority over the key.
pub(super) fn foreign_ring(claim: &Claim<'_>, witness: &Witness) -> Option<KeySerial> {
    let Order::Lustre(callout) = claim.order else { return None };
    let by_proof = callout.roles.any() || matches!(witness, Witness::ThreadRing);
    let ring = KeySerial::new(claim.thread_ring).filter(|_| !by_proof)?;
    KeyDescription::of(ring).ok().filter(|described| !is_keyring_of(described, callout.uid)).map(|_| ring)
}

/// A requester that cannot be looked at.
pub(super) fn gone(error: RequesterError) -> Failure {
    match error {
        RequesterError::Proc(_, Errno::ENOENT | Errno::ESRCH) => {
            refused(format_args!("S6: the requester has gone: {error}"))
        }
        RequesterError::TooManyKeys(..) | RequesterError::TooSlow(_) => {
            Failure::new(Stage::Authorise, Cause::ManyKeys, format_args!("S21: {error}"))
        }
        other => refused(format_args!("S6: {other}")),
    }
}
