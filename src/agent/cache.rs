//! One credential cache.
//!
//! Changed by collections.rs alone. Invariant: of credentials of which one takes the place of the other there is one, and
//! the size is the sum of what is in the cache.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::codec::{CacheId, CredentialId, HeldCredential, PrincipalBytes, RenewableLife};
use crate::wire::Reader;

/// What an empty cache costs, in bytes.
const EMPTY: usize = 512;

/// A cache: a principal and its credentials in the order of their arrival.
#[derive(Debug)]
pub(super) struct HeldCache {
    id: CacheId,
    principal: Vec<u8>,
    offset: u32,
    credentials: BTreeMap<CredentialId, HeldCredential>,
    by_identity: HashMap<[u8; 32], CredentialId>,
    /// Those that can be renewed.
    renewable: BTreeSet<CredentialId>,
    /// When it last got something, in seconds since the epoch.
    changed: u32,
    size: usize,
}

impl HeldCache {
    /// An empty cache of this principal.
    pub(super) fn new(id: CacheId, principal: PrincipalBytes<'_>, now: u32) -> Self {
        let principal = principal.bytes().to_vec();
        Self {
            id,
            size: EMPTY.saturating_add(principal.len()),
            principal,
            offset: 0,
            credentials: BTreeMap::new(),
            by_identity: HashMap::new(),
            renewable: BTreeSet::new(),
            changed: now,
        }
    }

    /// Its name in lists.
    pub(super) fn id(&self) -> CacheId {
        self.id
    }

    /// Its principal, as it came.
    pub(super) fn principal(&self) -> &[u8] {
        &self.principal
    }

    /// Whether this is its principal.
    pub(super) fn is_of(&self, client: PrincipalBytes<'_>) -> bool {
        PrincipalBytes::read(&mut Reader::new(&self.principal)).is_ok_and(|own| own.is(client))
    }

    /// Its principal, for people.
    pub(super) fn shown_principal(&self) -> String {
        PrincipalBytes::read(&mut Reader::new(&self.principal))
            .map_or_else(|error| error.to_string(), PrincipalBytes::shown)
    }

    /// The difference of the KDC's clock.
    pub(super) fn offset(&self) -> u32 {
        self.offset
    }

    /// A time of one of its tickets, by this machine's clock.
    pub(super) fn here(&self, time: u32) -> u32 {
        here(time, self.offset)
    }

    /// What it costs, in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Its credentials.
    pub(super) fn credentials(
        &self,
    ) -> impl ExactSizeIterator<Item = (&CredentialId, &HeldCredential)> + Clone {
        self.credentials.iter()
    }

    /// One of them.
    pub(super) fn credential(&self, id: CredentialId) -> Option<&HeldCredential> {
        self.credentials.get(&id)
    }

    /// The one whose place this credential would take.
    pub(super) fn duplicate_of(&self, credential: &HeldCredential) -> Option<CredentialId> {
        self.by_identity.get(credential.identity()).copied()
    }

    /// Of its principal's ticket-granting tickets that can be renewed, the one that ends last.
    pub(super) fn renewable(&self) -> Option<(CredentialId, RenewableLife)> {
        let ids = self.renewable.iter();
        let lives = ids.filter_map(|id| Some((*id, self.credential(*id)?.renewable()?)));
        lives.max_by_key(|(_, life)| life.end)
    }

    /// When the last of its tickets ends, in seconds since the epoch by this machine's clock; for a cache without tickets, when it
    /// last changed.
    pub(super) fn last_end(&self) -> u32 {
        let last = self.credentials.values().filter_map(HeldCredential::end).max();
        last.map_or(self.changed, |end| self.here(end))
    }

    /// Adds a credential.
    pub(super) fn put(&mut self, id: CredentialId, credential: HeldCredential, now: u32) {
        if let Some(duplicate) = self.duplicate_of(&credential) {
            self.remove(duplicate);
        }
        self.size = self.size.saturating_add(credential.cost());
        self.by_identity.insert(*credential.identity(), id);
        if credential.renewable().is_some()
            && credential.fields().is_ok_and(|fields| self.is_of(fields.client))
        {
            self.renewable.insert(id);
        }
        self.credentials.insert(id, credential);
        self.changed = now;
    }

    /// Removes a credential.
    pub(super) fn remove(&mut self, id: CredentialId) {
        if let Some(removed) = self.credentials.remove(&id) {
            self.size = self.size.saturating_sub(removed.cost());
            self.by_identity.remove(removed.identity());
            self.renewable.remove(&id);
        }
    }

    /// Sets the difference of the KDC's clock.
    pub(super) fn set_offset(&mut self, offset: u32) {
        self.offset = offset;
    }
}

/// A time by the KDC's clock, whose difference from this machine's is `offset`, as this machine's has it. Tickets have the former;
/// clients measure the difference.
pub(super) fn here(time: u32, offset: u32) -> u32 {
    let here = i64::from(time) - i64::from(offset.cast_signed());
    u32::try_from(here.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::codec::tests::{Sample, principal};
    use super::*;

    fn id(number: u8) -> CredentialId {
        CredentialId([number; 16])
    }

    #[test]
    fn of_its_own_clients_tickets_the_one_that_ends_last_is_to_be_renewed() {
        let alice = principal("alice@A");
        let alice = PrincipalBytes::read(&mut Reader::new(&alice)).unwrap();
        let mut cache = HeldCache::new(CacheId([0; 16]), alice, 1);
        let granting = Sample { end: 100, renewable: 900, ..Sample::for_server("krbtgt/A@A") };
        cache.put(id(1), granting.held(), 1);
        cache.put(id(2), Sample { key_type: 17, end: 200, ..granting.clone() }.held(), 1);
        cache.put(id(3), Sample { client: "bob@A", end: 300, ..granting.clone() }.held(), 1);
        cache.put(id(4), Sample { end: 400, renewable: 900, ..Sample::for_server("nfs/srv@A") }.held(), 1);
        assert_eq!(cache.renewable().map(|(found, life)| (found, life.end)), Some((id(2), 200)));
        // A ticket takes the place of a duplicate.
        cache.put(id(5), Sample { key_type: 17, end: 150, ..granting }.held(), 1);
        assert_eq!(cache.renewable().map(|(found, _)| found), Some(id(5)));
        cache.remove(id(5));
        assert_eq!(cache.renewable().map(|(found, _)| found), Some(id(1)));
        cache.remove(id(1));
        assert_eq!(cache.renewable(), None);
    }
}
