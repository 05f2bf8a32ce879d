//! The requester's keyrings, lent to the launcher, which searches them for credential caches.
//!
//! The front lends them by the requester's own right to them, which it has while the key is under construction. The
//! monitor takes them, and goes on without those that are late.

use std::time::Duration;

use nix::errno::Errno;

use super::invocation::Invocation;
use super::order::Order;
use crate::creds::cache_name::CacheName;
use crate::creds::search::Rings;
use crate::key::authority::own_session_keyring;
use crate::sys::lending::{Lending, Lent};

/// A requester's keyrings that are being lent, in the order of `in_order`.
pub(super) type Loan = &'static Lending<RINGS>;

/// Number of kinds of keyrings.
const RINGS: usize = 4;

/// Whether the cache may be in the requester's keyrings: the request names a keyring cache, or no cache at all.
pub(super) fn may_need_keyrings(order: &Order) -> bool {
    let cache = match order {
        Order::Program { callout, .. } => callout.cache.as_ref(),
        Order::Lustre(_) if order.tickets_of_a_user().is_none() => return false,
        Order::Lustre(_) => None,
    };
    matches!(cache.map(|name| name.parse()), None | Some(Ok(CacheName::Keyring { .. })))
}

/// Has the requester's keyrings linked to ours, where the launcher finds them, by the requester's own right to them
/// while its key is under construction. If this fails, the caches in them are not found, which the worker reports.
pub(super) fn lend_keyrings(invocation: &Invocation) -> Result<Loan, Errno> {
    Lending::begin(in_order(invocation.lendable_rings()), own_session_keyring()?)
}

/// The requester's keyrings, without those that could not be lent in time.
pub(super) fn lent(invocation: &Invocation, loan: Option<Loan>, limit: Duration) -> Rings {
    let rings = invocation.lendable_rings();
    let Some(lending) = loan else { return rings };
    let outcome = lending.outcome(limit);
    let mut kept = in_order(rings);
    let mut late = None;
    for (ring, lent) in kept.iter_mut().zip(outcome) {
        if let Lent::Late(why) = lent {
            *ring = 0;
            late = Some(why);
        }
    }
    let [session, process, thread, user] = kept;
    Rings { thread, process, session, user, late }
}

/// Those most likely to have caches come first.
fn in_order(rings: Rings) -> [i32; RINGS] {
    [rings.session, rings.process, rings.thread, rings.user]
}
