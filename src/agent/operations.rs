//! Does what requests ask for.
//!
//! Called by the event loop with parsed requests. Invariant: a client reaches the caches of its scope alone, and a change is
//! stored before its reply exists.

use sha2::{Digest, Sha256};

use super::cache::HeldCache;
use super::change::{Change, StorageError};
use super::codec::{
    CacheId, CacheLabel, CredentialId, HeldCredential, KcmReply, KcmRequest, Opcode, Pattern, PrincipalBytes,
    RequestFault, Status,
};
use super::collections::{Collections, ScopeCaches};
use super::expiry::{Dropped, Pressure, sweep};
use super::journal::Topic;
use super::limits::{LimitMet, StoreLimits};
use super::peer::ClientScope;
use crate::config::LogLevel;
use crate::wire::WireError;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum KcmRefusal {
    /// There is no such cache.
    #[error("no such cache")]
    NoCache,
    /// There is no such credential, or no cache at all.
    #[error("nothing more")]
    Nothing,
    /// There is no such credential to remove.
    #[error("no such credential")]
    NothingToRemove,
    /// There is no such operation, or its reply would be too large.
    #[error("no such operation")]
    Unsupported,
    /// It makes no sense.
    #[error(transparent)]
    Malformed(#[from] RequestFault),
    /// It is too much.
    #[error(transparent)]
    Limit(#[from] LimitMet),
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<WireError> for KcmRefusal {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.into())
    }
}

impl KcmRefusal {
    /// What the client is told.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::NoCache => Status::NoCache,
            Self::Nothing => Status::End,
            Self::NothingToRemove => Status::NotFound,
            Self::Unsupported => Status::Unsupported,
            Self::Malformed(_) => Status::Malformed,
            Self::Limit(_) => Status::Full,
            Self::Storage(StorageError::Quota(_)) => Status::Quota,
            Self::Storage(_) => Status::Io,
        }
    }
}

impl KcmRefusal {
    /// How it is logged, if it is.
    pub(super) fn severity(&self) -> Option<(LogLevel, Topic)> {
        match self {
            Self::Limit(_) | Self::Storage(StorageError::Quota(_)) => Some((LogLevel::Warn, Topic::Limit)),
            Self::Malformed(_) => Some((LogLevel::Warn, Topic::Malformed)),
            Self::Storage(_) => Some((LogLevel::Error, Topic::Storage)),
            Self::NoCache | Self::Nothing | Self::NothingToRemove | Self::Unsupported => None,
        }
    }
}

/// The caches as one client sees them, for one request.
pub(super) struct Desk<'a> {
    pub(super) collections: &'a mut Collections,
    /// Whose caches these are: the client's.
    pub(super) scope: &'a ClientScope,
    pub(super) limits: &'a StoreLimits,
    /// The user whose caches these are.
    pub(super) uid: u32,
    /// Seconds since the epoch.
    pub(super) now: u32,
    /// Largest reply, in bytes.
    pub(super) room: usize,
    /// Caches that had to make room.
    pub(super) dropped: &'a mut Vec<Dropped>,
}

type Replied = Result<KcmReply, KcmRefusal>;

impl Desk<'_> {
    /// Answers a request.
    ///
    /// # Errors
    /// [`KcmRefusal`]; nothing has changed then, except that what has expired may be gone.
    pub(super) fn answer(&mut self, opcode: Opcode, parameters: &[u8]) -> Replied {
        match KcmRequest::parse(opcode, parameters)? {
            KcmRequest::Noop => Ok(done()),
            KcmRequest::GenerateName => Ok(KcmReply::label(&self.unused_label())),
            KcmRequest::CacheIds => self.cache_ids(),
            KcmRequest::CacheById { id } => self.cache_by_id(id),
            KcmRequest::Default => Ok(KcmReply::label(&self.default_label())),
            KcmRequest::Initialize { label, principal } => self.replace(&label, 0, principal, &[]),
            KcmRequest::Replace { label, offset, principal, credentials } => {
                self.replace(&label, offset, principal, &credentials)
            }
            KcmRequest::Store { label, credential } => self.store(&label, credential),
            KcmRequest::Unknown => Err(KcmRefusal::Unsupported),
            KcmRequest::Destroy { label }
            | KcmRequest::SetDefault { label }
            | KcmRequest::SetOffset { label, .. }
                if self.collections.cache(self.scope, &self.named(&label)).is_none() =>
            {
                Err(KcmRefusal::NoCache)
            }
            KcmRequest::Destroy { label } => self.change(Change::RemoveCache { label: self.named(&label) }),
            KcmRequest::SetDefault { label } => self.change(Change::SetDefault { label: self.named(&label) }),
            KcmRequest::SetOffset { label, offset } => {
                self.change(Change::SetOffset { label: self.named(&label), offset })
            }
            KcmRequest::Move { from, to } => self.rename(&from, &to),
            KcmRequest::Remove { label, pattern } => self.remove(&label, &pattern),
            KcmRequest::Retrieve { label, pattern } => {
                let cache = self.cache(&label)?;
                let found = cache.credentials().find(|(_, credential)| is_meant(&pattern, credential));
                found.map(|(_, credential)| KcmReply::bytes(credential.bytes())).ok_or(KcmRefusal::Nothing)
            }
            KcmRequest::Principal { label } => Ok(KcmReply::bytes(self.cache(&label)?.principal())),
            KcmRequest::CredentialIds { label } => {
                let cache = self.cache(&label)?;
                Ok(KcmReply::ids(cache.credentials().map(|(id, _)| id.0)))
            }
            KcmRequest::CredentialById { label, id } => {
                let credential = self.cache(&label)?.credential(CredentialId(id));
                Ok(KcmReply::bytes(credential.ok_or(KcmRefusal::Nothing)?.bytes()))
            }
            KcmRequest::Credentials { label } => {
                let credentials = self.cache(&label)?.credentials();
                KcmReply::credentials(credentials, self.room).ok_or(KcmRefusal::Unsupported)
            }
            KcmRequest::Offset { label } => Ok(KcmReply::bytes(&self.cache(&label)?.offset().to_be_bytes())),
        }
    }

    fn collection(&self) -> Option<&ScopeCaches> {
        self.collections.of(self.scope)
    }

    fn cache(&self, label: &CacheLabel) -> Result<&HeldCache, KcmRefusal> {
        self.collections.cache(self.scope, &self.named(label)).ok_or(KcmRefusal::NoCache)
    }

    /// The name that is meant: the default cache's for none, as Heimdal's clients ask.
    fn named(&self, label: &CacheLabel) -> CacheLabel {
        if label.bytes().is_empty() { self.default_label() } else { label.clone() }
    }

    /// The name that was made the default; else the user's number, if there is such a cache; else the cache whose tickets
    /// live longest; else that number for a cache that is still to be made.
    fn default_label(&self) -> CacheLabel {
        let own = CacheLabel::new(self.uid.to_string().as_bytes());
        let Some(collection) = self.collection() else { return own };
        if let Some(chosen) = collection.chosen_default() {
            return chosen.clone();
        }
        if collection.cache(&own).is_some() {
            return own;
        }
        let longest = collection.caches().max_by_key(|(_, cache)| cache.last_end());
        longest.map_or(own, |(label, _)| label.clone())
    }

    /// `UID:` and eight digits that nobody foresees.
    fn unused_label(&mut self) -> CacheLabel {
        loop {
            let digest = Sha256::digest(self.collections.new_cache_id().0);
            let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let label = CacheLabel::new(format!("{}:{digits}", self.uid).as_bytes());
            if self.collections.cache(self.scope, &label).is_none() {
                return label;
            }
        }
    }

    fn cache_ids(&self) -> Replied {
        let caches = self.collection().ok_or(KcmRefusal::NoCache)?.caches();
        Ok(KcmReply::ids(caches.map(|(_, cache)| cache.id().0)))
    }

    fn cache_by_id(&self, id: CacheId) -> Replied {
        let mut caches = self.collection().ok_or(KcmRefusal::NoCache)?.caches();
        let (label, _) = caches.find(|(_, cache)| cache.id() == id).ok_or(KcmRefusal::NoCache)?;
        Ok(KcmReply::label(label))
    }

    fn change(&mut self, change: Change) -> Replied {
        let written = change.label().clone();
        let applied = self.collections.apply(self.scope, change, self.now);
        if let Err(StorageError::Quota(_)) = &applied {
            // The kernel gives that room back in a while; what it does not give back is missing anyway.
            let _ = self.sweep(&written);
        }
        applied?;
        Ok(done())
    }

    /// Puts a whole cache in the place of what had the name.
    fn replace(
        &mut self,
        label: &CacheLabel,
        offset: u32,
        principal: PrincipalBytes<'_>,
        credentials: &[&[u8]],
    ) -> Replied {
        let label = self.named(label);
        if credentials.len() > self.limits.tickets {
            return Err(LimitMet::Tickets { label, limit: self.limits.tickets }.into());
        }
        let mut cache = HeldCache::new(self.collections.new_cache_id(), principal, self.now);
        cache.set_offset(offset);
        for bytes in credentials {
            let credential = self.of_allowed_size(&label, bytes)?;
            cache.put(self.collections.new_credential_id(), credential, self.now);
        }
        if self.collections.cache(self.scope, &label).is_none() {
            self.make_room(
                &label,
                |collections, limits| collections.count() < limits.caches,
                |label, limits| LimitMet::Caches { label, limit: limits.caches },
            )?;
        }
        self.make_room_for(&label, cache.size(), HeldCache::size)?;
        self.change(Change::PutCache { label, cache })
    }

    fn store(&mut self, label: &CacheLabel, bytes: &[u8]) -> Replied {
        let label = self.named(label);
        let credential = self.of_allowed_size(&label, bytes)?;
        let replaced = self.cache(&label)?.duplicate_of(&credential);
        if replaced.is_none() {
            let scope = self.scope;
            self.make_room(
                &label,
                |collections, limits| {
                    let cache = collections.cache(scope, &label);
                    cache.is_none_or(|cache| cache.credentials().len() < limits.tickets)
                },
                |label, limits| LimitMet::Tickets { label, limit: limits.tickets },
            )?;
        }
        self.make_room_for(&label, credential.cost(), |cache| {
            let former = cache.duplicate_of(&credential).and_then(|id| cache.credential(id));
            former.map_or(0, HeldCredential::cost)
        })?;
        // What it replaces may have had to make room.
        let replaced = self.cache(&label)?.duplicate_of(&credential).into_iter().collect();
        let id = self.collections.new_credential_id();
        self.change(Change::PutCredential { label, id, credential, replaced })
    }

    fn of_allowed_size(&self, label: &CacheLabel, bytes: &[u8]) -> Result<HeldCredential, KcmRefusal> {
        let (size, limit) = (bytes.len(), self.limits.ticket_size);
        if size > limit {
            return Err(LimitMet::TicketSize { label: label.clone(), size, limit }.into());
        }
        Ok(HeldCredential::new(bytes)?)
    }

    /// Whether there is room for what costs so much in a cache, in the place of what `former` says the cost of. That may be
    /// dropped for it, and then gives no more room.
    fn make_room_for(
        &mut self,
        label: &CacheLabel,
        cost: usize,
        former: impl Fn(&HeldCache) -> usize,
    ) -> Result<(), KcmRefusal> {
        let scope = self.scope;
        let fits = |collections: &Collections, limits: &StoreLimits| {
            let former = collections.cache(scope, label).map_or(0, &former);
            collections.size().saturating_sub(former).saturating_add(cost) <= limits.memory
        };
        self.make_room(label, fits, |label, limits| LimitMet::Memory { label, limit: limits.memory })
    }

    /// Whether it fits into this cache, if need be without what has expired.
    fn make_room(
        &mut self,
        label: &CacheLabel,
        fits: impl Fn(&Collections, &StoreLimits) -> bool,
        met: impl FnOnce(CacheLabel, &StoreLimits) -> LimitMet,
    ) -> Result<(), KcmRefusal> {
        if fits(self.collections, self.limits) {
            return Ok(());
        }
        let swept = self.sweep(label);
        if fits(self.collections, self.limits) {
            return Ok(());
        }
        swept?;
        Err(met(label.clone(), self.limits).into())
    }

    /// Drops what has expired, but not the cache that is about to get something.
    fn sweep(&mut self, written: &CacheLabel) -> Result<(), StorageError> {
        let pressure = Pressure::LimitMet { scope: self.scope, label: written };
        sweep(self.collections, pressure, self.now, self.dropped)
    }

    fn rename(&mut self, from: &CacheLabel, to: &CacheLabel) -> Replied {
        let (from, to) = (self.named(from), self.named(to));
        self.cache(&from)?;
        if from == to { Ok(done()) } else { self.change(Change::MoveCache { from, to }) }
    }

    fn remove(&mut self, label: &CacheLabel, pattern: &Pattern<'_>) -> Replied {
        let label = self.named(label);
        let credentials = self.cache(&label)?.credentials();
        let meant = credentials.filter(|(_, credential)| is_meant(pattern, credential));
        let ids: Vec<CredentialId> = meant.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Err(KcmRefusal::NothingToRemove);
        }
        self.change(Change::RemoveCredentials { label, ids })
    }
}

fn done() -> KcmReply {
    KcmReply::status(Status::Done)
}

fn is_meant(pattern: &Pattern<'_>, credential: &HeldCredential) -> bool {
    credential.fields().is_ok_and(|fields| pattern.matches(&fields))
}

#[cfg(test)]
mod tests;
