//! A renewed ticket takes the place of the one that was sent.
//!
//! Called by the parent module. Invariant: one change, so that a storage that fails leaves every ticket as it was.

use super::judged::RenewalFault;
use crate::agent::change::Change;
use crate::agent::codec::{CacheLabel, CredentialId, HeldCredential};
use crate::agent::collections::Collections;
use crate::agent::expiry::{Dropped, Pressure, sweep};
use crate::agent::limits::{LimitMet, StoreLimits};
use crate::agent::peer::ClientScope;
use crate::time;

/// Whether there is room for a new ticket that costs so much more than the old one in its cache, if need be without what has
/// expired. Adds the caches that were dropped for it.
pub(super) fn fit(
    new: &HeldCredential,
    grown: usize,
    (scope, label): (&ClientScope, &CacheLabel),
    (collections, limits): (&mut Collections, &StoreLimits),
    dropped: &mut Vec<Dropped>,
) -> Result<(), RenewalFault> {
    let (size, limit) = (new.bytes().len(), limits.ticket_size);
    if size > limit {
        return Err(LimitMet::TicketSize { label: label.clone(), size, limit }.into());
    }
    let fits = |collections: &Collections| collections.size().saturating_add(grown) <= limits.memory;
    if fits(collections) {
        return Ok(());
    }
    let swept = sweep(collections, Pressure::LimitMet { scope, label }, time::now_32(), dropped);
    if fits(collections) {
        return Ok(());
    }
    swept?;
    Err(LimitMet::Memory { label: label.clone(), limit: limits.memory }.into())
}

/// Puts a new ticket in the place of the one that was sent. Returns when it ends.
pub(super) fn put(
    collections: &mut Collections,
    (scope, old): (&ClientScope, CredentialId),
    label: CacheLabel,
    new: HeldCredential,
) -> Result<u32, RenewalFault> {
    let (end, mut replaced) = (new.end().unwrap_or(0), vec![old]);
    // Its session key may have another type than the old one's, and then be a duplicate of a third one.
    if let Some(cache) = collections.cache(scope, &label)
        && let Some(third) = cache.duplicate_of(&new).filter(|third| *third != old)
    {
        if cache.credential(third).and_then(HeldCredential::end).is_some_and(|other| other > end) {
            return Err(RenewalFault::Outlived);
        }
        replaced.push(third);
    }
    let id = collections.new_credential_id();
    let change = Change::PutCredential { label, id, credential: new, replaced };
    collections.apply(scope, change, time::now_32())?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::cache::HeldCache;
    use crate::agent::change::{HeldBefore, Storage, StorageError};
    use crate::agent::codec::PrincipalBytes;
    use crate::agent::codec::tests::{Sample, principal};
    use crate::wire::Reader;
    use nix::errno::Errno;

    /// Keeps so many changes, then fails.
    struct Failing(usize);

    impl Storage for Failing {
        fn record(&mut self, _: &Change, _: HeldBefore<'_>) -> Result<(), StorageError> {
            self.0 = self.0.checked_sub(1).ok_or(StorageError::Kernel(Errno::ENOMEM))?;
            Ok(())
        }

        fn survives(&self) -> bool {
            true
        }
    }

    fn ticket(key_type: u16, end: u32) -> Sample {
        Sample { key_type, end, renewable: 9000, ..Sample::for_server("krbtgt/A@A") }
    }

    /// A cache with these tickets, of which the first is renewed by a ticket of type 18 that ends at 2000, in a storage that
    /// keeps so many changes. Returns the ends of its tickets.
    fn renewed(tickets: &[Sample], changes: usize) -> (Result<u32, RenewalFault>, Vec<Option<u32>>) {
        let mut collections = Collections::new(Box::new(Failing(changes)), [7; 8]);
        let (scope, label, alice) = (ClientScope::User, CacheLabel::new(b"a"), principal("alice@A"));
        let id = collections.new_cache_id();
        let mut cache = HeldCache::new(id, PrincipalBytes::read(&mut Reader::new(&alice)).unwrap(), 1);
        for sample in tickets {
            cache.put(collections.new_credential_id(), sample.held(), 1);
        }
        let old = *cache.credentials().next().unwrap().0;
        collections.apply(&scope, Change::PutCache { label: label.clone(), cache }, 1).unwrap();
        let done = put(&mut collections, (&scope, old), label.clone(), ticket(18, 2000).held());
        let left = collections.cache(&scope, &label).unwrap();
        (done, left.credentials().map(|(_, one)| one.end()).collect())
    }

    #[test]
    fn a_renewal_replaces_a_third_duplicate_in_one_change_or_nothing_at_all() {
        let tickets = [ticket(17, 1000), ticket(18, 900)];
        let (done, left) = renewed(&tickets, 2);
        assert!(done.is_ok_and(|end| end == 2000) && left == [Some(2000)], "{left:?}");
        let (done, left) = renewed(&tickets, 1);
        assert!(matches!(done, Err(RenewalFault::Storage(_))) && left == [Some(1000), Some(900)], "{left:?}");
    }

    #[test]
    fn what_has_expired_makes_room_for_a_renewed_ticket() {
        let now = time::now_32();
        for (end, fits) in [(now - 1, true), (now + 1000, false)] {
            let mut collections = Collections::new(Box::new(Failing(9)), [7; 8]);
            let (scope, alice) = (ClientScope::User, principal("alice@A"));
            for (name, end) in [("a", now + 500), ("other", end)] {
                let id = collections.new_cache_id();
                let client = PrincipalBytes::read(&mut Reader::new(&alice)).unwrap();
                let mut cache = HeldCache::new(id, client, now);
                cache.put(collections.new_credential_id(), ticket(18, end).held(), now);
                let change = Change::PutCache { label: CacheLabel::new(name.as_bytes()), cache };
                collections.apply(&scope, change, now).unwrap();
            }
            let limits =
                StoreLimits { caches: 9, tickets: 9, ticket_size: 4096, memory: collections.size() + 9 };
            let (new, label) = (ticket(18, now + 900).held(), CacheLabel::new(b"a"));
            let mut dropped = Vec::new();
            let fitted = fit(&new, 10, (&scope, &label), (&mut collections, &limits), &mut dropped);
            assert_eq!(
                (fitted.is_ok(), dropped.len(), collections.count()),
                (fits, usize::from(fits), 2 - usize::from(fits))
            );
        }
    }

    #[test]
    fn a_third_duplicate_that_ends_later_stays() {
        let (done, left) = renewed(&[ticket(17, 1000), ticket(18, 3000)], 9);
        assert!(matches!(done, Err(RenewalFault::Outlived)) && left == [Some(1000), Some(3000)], "{left:?}");
    }
}
