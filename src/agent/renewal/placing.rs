//! A renewed ticket takes the place of the one that was sent.
//!
//! Called by the parent module. Invariant: one change, so that a storage that fails leaves every ticket as it was.

use super::judged::RenewalFault;
use crate::agent::change::Change;
use crate::agent::codec::{CacheLabel, CredentialId, HeldCredential};
use crate::agent::collections::Collections;
use crate::agent::limits::{LimitMet, StoreLimits};
use crate::agent::peer::ClientScope;
use crate::time;

/// The new ticket, if there is room for it in the place of the old one.
pub(super) fn fitting(
    new: HeldCredential,
    label: &CacheLabel,
    old: &HeldCredential,
    (collections, limits): (&Collections, &StoreLimits),
) -> Result<HeldCredential, RenewalFault> {
    let (label, size, limit) = (label.clone(), new.bytes().len(), limits.ticket_size);
    let grown = new.cost().saturating_sub(old.cost());
    if size > limit {
        Err(LimitMet::TicketSize { label, size, limit }.into())
    } else if collections.size().saturating_add(grown) > limits.memory {
        Err(LimitMet::Memory { label, limit: limits.memory }.into())
    } else {
        Ok(new)
    }
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
    fn a_third_duplicate_that_ends_later_stays() {
        let (done, left) = renewed(&[ticket(17, 1000), ticket(18, 3000)], 9);
        assert!(matches!(done, Err(RenewalFault::Outlived)) && left == [Some(1000), Some(3000)], "{left:?}");
    }
}
