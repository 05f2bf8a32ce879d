//! The evidence for who asks, and from where, as the kernel shows it (rules S1, S6).
//!
//! Called by the front once the watchdog exists, since looking at a requester may block.

use nix::errno::Errno;

use super::claim::Claim;
use super::order::Order;
use super::refusal::refused;
use crate::event::{Cause, Failure, Stage};
use crate::identity::key_list::Bound;
use crate::identity::requester::{self, Requester, RequesterError, Wait};
use crate::key::auth_line::Expected;
use crate::key::{Authority, KeyDescription, KeySerial};

/// Evidence of the requester.
#[derive(Debug)]
pub(super) enum Witness {
    /// The requester's thread keyring is the user keyring of the uid in the callout. Lustre asks for ordinary users in
    /// this way, and no program can. Nothing else need be read, which makes the most frequent request the cheapest.
    ThreadRing,
    /// The requester, as /proc shows it.
    Task(Requester),
}

impl Witness {
    /// Finds the evidence; calls `look` before it looks at the requester.
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
            // Its root directory and environment are still to be opened.
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
            Self::Task(requester) => requester.waits(),
            Self::ThreadRing => Wait::Other,
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

/// The keyring in which the kernel finds a user's key of Lustre's but from which it does not remove the key when that
/// fails: the user keyring in another user namespace, not that of the key's owner in ours. The authority over the key
/// makes it visible.
pub(super) fn foreign_ring(claim: &Claim<'_>, witness: &Witness) -> Option<KeySerial> {
    let Order::Lustre(callout) = claim.order else { return None };
    let by_proof = callout.roles.any() || matches!(witness, Witness::ThreadRing);
    let ring = KeySerial::new(claim.thread_ring).filter(|_| !by_proof)?;
    KeyDescription::of(ring).ok().filter(|described| !is_keyring_of(described, callout.uid)).map(|_| ring)
}

/// The failure of a request whose requester cannot be looked at.
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
