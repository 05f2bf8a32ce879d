//! All caches: a collection for each scope.
//!
//! Called by operations.rs and expiry.rs. Invariant: a change is made after storage has kept it, so that whatever was
//! acknowledged is as safe as the storage.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use super::cache::HeldCache;
use super::change::{Change, HeldBefore, Storage, StorageError};
use super::codec::{CacheId, CacheLabel, CredentialId, id_of};
use super::peer::ClientScope;

/// The caches of one scope.
#[derive(Debug, Default)]
pub(super) struct ScopeCaches {
    caches: BTreeMap<CacheLabel, HeldCache>,
    default: Option<CacheLabel>,
}

impl ScopeCaches {
    /// Its caches.
    pub(super) fn caches(&self) -> impl ExactSizeIterator<Item = (&CacheLabel, &HeldCache)> {
        self.caches.iter()
    }

    /// One of them.
    pub(super) fn cache(&self, label: &CacheLabel) -> Option<&HeldCache> {
        self.caches.get(label)
    }

    /// The name that was made the default.
    pub(super) fn chosen_default(&self) -> Option<&CacheLabel> {
        self.default.as_ref()
    }

    fn held(&self) -> HeldBefore<'_> {
        HeldBefore { caches: &self.caches, default: self.default.as_ref() }
    }

    fn size(&self) -> usize {
        self.caches.values().map(HeldCache::size).sum()
    }

    fn make(&mut self, change: Change, now: u32) {
        match change {
            Change::PutCache { label, cache } => drop(self.caches.insert(label, cache)),
            Change::RemoveCache { label } => {
                self.caches.remove(&label);
                self.default.take_if(|default| *default == label);
            }
            Change::MoveCache { from, to } => {
                if let Some(cache) = self.caches.remove(&from) {
                    self.caches.insert(to, cache);
                }
                self.default.take_if(|default| *default == from);
            }
            Change::SetDefault { label } => self.default = Some(label),
            Change::PutCredential { label, id, credential, replaced } => self.within(&label, |cache| {
                replaced.into_iter().for_each(|former| cache.remove(former));
                cache.put(id, credential, now);
            }),
            Change::RemoveCredentials { label, ids } => {
                self.within(&label, |cache| ids.into_iter().for_each(|id| cache.remove(id)));
            }
            Change::SetOffset { label, offset } => self.within(&label, |cache| cache.set_offset(offset)),
        }
    }

    fn within(&mut self, label: &CacheLabel, act: impl FnOnce(&mut HeldCache)) {
        if let Some(cache) = self.caches.get_mut(label) {
            act(cache);
        }
    }
}

/// What storage has kept.
#[derive(Debug, Default)]
pub(super) struct KeptCaches {
    pub(super) caches: BTreeMap<CacheLabel, HeldCache>,
    pub(super) default: Option<CacheLabel>,
    /// No cache or credential has this number, or a greater one.
    pub(super) next: u64,
}

/// The caches of all scopes.
pub(super) struct Collections {
    scopes: HashMap<ClientScope, ScopeCaches>,
    storage: Box<dyn Storage>,
    size: usize,
    /// The next number of a cache or credential, and what makes numbers unpredictable.
    next: u64,
    salt: [u8; 8],
}

impl Collections {
    /// No caches. `salt` is random.
    pub(super) fn new(storage: Box<dyn Storage>, salt: [u8; 8]) -> Self {
        Self { scopes: HashMap::new(), storage, size: 0, next: 0, salt }
    }

    /// The caches of one scope that storage has kept, whose names have the same salt. New ones get numbers from `next` on.
    pub(super) fn restored(
        storage: Box<dyn Storage>,
        salt: [u8; 8],
        (scope, kept): (ClientScope, KeptCaches),
    ) -> Self {
        let collection = ScopeCaches { caches: kept.caches, default: kept.default };
        let size = collection.size();
        let scopes = if collection.caches.is_empty() { None } else { Some((scope, collection)) };
        Self { scopes: scopes.into_iter().collect(), storage, size, next: kept.next, salt }
    }

    /// Makes a change once it is stored.
    ///
    /// # Errors
    /// [`StorageError`]: nothing has changed.
    pub(super) fn apply(
        &mut self,
        scope: &ClientScope,
        change: Change,
        now: u32,
    ) -> Result<(), StorageError> {
        static NONE: ScopeCaches = ScopeCaches { caches: BTreeMap::new(), default: None };
        self.storage.record(&change, self.scopes.get(scope).unwrap_or(&NONE).held())?;
        let collection = self.scopes.entry(scope.clone()).or_default();
        let before = affected(collection, &change);
        let labels = labels(&change);
        collection.make(change, now);
        let after = size_of(collection, &labels);
        self.size = self.size.saturating_sub(before).saturating_add(after);
        if collection.caches.is_empty() {
            self.scopes.remove(scope);
        }
        Ok(())
    }

    /// The collection of a scope; none if it has no cache.
    pub(super) fn of(&self, scope: &ClientScope) -> Option<&ScopeCaches> {
        self.scopes.get(scope)
    }

    /// A cache.
    pub(super) fn cache(&self, scope: &ClientScope, label: &CacheLabel) -> Option<&HeldCache> {
        self.of(scope)?.cache(label)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ClientScope, &CacheLabel, &HeldCache)> {
        self.scopes.iter().flat_map(|(scope, collection)| {
            collection.caches().map(move |(label, cache)| (scope, label, cache))
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.scopes.values().map(|collection| collection.caches.len()).sum()
    }

    /// What all of them cost, in bytes.
    pub(super) fn size(&self) -> usize {
        debug_assert_eq!(self.size, self.scopes.values().map(ScopeCaches::size).sum::<usize>());
        self.size
    }

    /// Whether they survive the process's end.
    pub(super) fn survive(&self) -> bool {
        self.storage.survives()
    }

    /// Whether what is too much for the storage now may soon fit.
    pub(super) fn frees_room(&self, now: Instant) -> bool {
        self.storage.frees_room(now)
    }

    /// Whether another process has taken them over.
    pub(super) fn is_superseded(&self) -> bool {
        self.storage.is_superseded()
    }

    /// Has the storage do what is due. Returns when it is due again.
    pub(super) fn tend(&mut self, now: Instant) -> Option<Instant> {
        self.storage.tend(now)
    }

    /// A name for a new cache in lists.
    pub(super) fn new_cache_id(&mut self) -> CacheId {
        CacheId(self.new_id())
    }

    /// A name for a new credential.
    pub(super) fn new_credential_id(&mut self) -> CredentialId {
        CredentialId(self.new_id())
    }

    fn new_id(&mut self) -> [u8; 16] {
        let id = id_of(self.next, self.salt);
        self.next = self.next.wrapping_add(1);
        id
    }
}

/// The names of the caches whose sizes a change may alter.
fn labels(change: &Change) -> Vec<CacheLabel> {
    match change {
        Change::PutCache { label, .. }
        | Change::RemoveCache { label }
        | Change::PutCredential { label, .. }
        | Change::RemoveCredentials { label, .. } => vec![label.clone()],
        // Moving a cache to its own name is one cache.
        Change::MoveCache { from, to } if from == to => vec![from.clone()],
        Change::MoveCache { from, to } => vec![from.clone(), to.clone()],
        Change::SetDefault { .. } | Change::SetOffset { .. } => Vec::new(),
    }
}

fn affected(collection: &ScopeCaches, change: &Change) -> usize {
    size_of(collection, &labels(change))
}

fn size_of(collection: &ScopeCaches, labels: &[CacheLabel]) -> usize {
    labels.iter().filter_map(|label| collection.cache(label)).map(HeldCache::size).sum()
}
