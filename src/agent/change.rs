//! Changes of caches, and where they are kept.
//!
//! Every change goes through [`Storage`] before it is made and acknowledged ([`super::collections::Collections::apply`]).

use std::collections::BTreeMap;
use std::time::Instant;

use super::cache::HeldCache;
use super::codec::{CacheLabel, CredentialId, HeldCredential};

/// A change of the caches of one scope.
#[derive(Debug)]
pub(super) enum Change {
    /// A cache, with what is in it, takes the place of what had the name.
    PutCache {
        /// Its name.
        label: CacheLabel,
        /// The cache.
        cache: HeldCache,
    },
    /// A cache is removed. It is the default one no more.
    RemoveCache {
        /// Its name.
        label: CacheLabel,
    },
    /// A cache gets another name, and takes the place of what had that. Whichever name is the default stays it.
    MoveCache {
        /// Its name.
        from: CacheLabel,
        /// Its new name.
        to: CacheLabel,
    },
    /// A cache gets a credential.
    PutCredential {
        /// The cache's name.
        label: CacheLabel,
        /// The credential's.
        id: CredentialId,
        /// The credential.
        credential: HeldCredential,
        /// Those whose place it takes.
        replaced: Vec<CredentialId>,
    },
    /// A cache loses credentials.
    RemoveCredentials {
        /// The cache's name.
        label: CacheLabel,
        /// The credentials'.
        ids: Vec<CredentialId>,
    },
    /// This cache becomes the default one.
    SetDefault {
        /// Its name.
        label: CacheLabel,
    },
    /// The difference of the KDC's clock, in seconds, as a client has measured it.
    SetOffset {
        /// The cache's name.
        label: CacheLabel,
        /// A signed number.
        offset: u32,
    },
}

impl Change {
    /// The cache that it is about, by the name that this has before.
    pub(super) fn label(&self) -> &CacheLabel {
        match self {
            Self::PutCache { label, .. }
            | Self::RemoveCache { label }
            | Self::MoveCache { from: label, .. }
            | Self::PutCredential { label, .. }
            | Self::RemoveCredentials { label, .. }
            | Self::SetDefault { label }
            | Self::SetOffset { label, .. } => label,
        }
    }
}

/// What there is before a change: the caches of its scope.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldBefore<'a> {
    /// By their names.
    pub(super) caches: &'a BTreeMap<CacheLabel, HeldCache>,
    /// The name that was made the default.
    pub(super) default: Option<&'a CacheLabel>,
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageError {
    /// The kernel does not keep it.
    #[error("not stored in the persistent keyring: {0}")]
    Kernel(nix::errno::Errno),
    /// The user's quota of keys is used up. The text says so, with figures.
    #[error("not stored in the persistent keyring: {0}")]
    Quota(String),
    /// Another agent has taken over what is stored: this one is to end.
    #[error("another lgss_agent serves these caches now")]
    Superseded,
}

/// Where caches outlive the process.
pub(super) trait Storage {
    /// Keeps a change. When this returns without an error, the change survives the process's end.
    ///
    /// # Errors
    /// [`StorageError`]; the change is neither made nor acknowledged then. Of many tickets that were to be removed, some may not
    /// survive the process all the same.
    fn record(&mut self, change: &Change, before: HeldBefore<'_>) -> Result<(), StorageError>;

    /// Whether what was recorded survives the process's end.
    fn survives(&self) -> bool;

    /// Whether what is too much now may soon fit, since the kernel has yet to free what was removed.
    fn frees_room(&self, _now: Instant) -> bool {
        false
    }

    /// Whether another process has taken over what is stored.
    fn is_superseded(&self) -> bool {
        false
    }

    /// Does what is due by now, so that what was recorded is kept. Returns when it is due again.
    fn tend(&mut self, _now: Instant) -> Option<Instant> {
        None
    }
}

/// Nowhere: what the process holds ends with it.
#[derive(Debug)]
pub(super) struct Memory;

impl Storage for Memory {
    fn record(&mut self, _: &Change, _: HeldBefore<'_>) -> Result<(), StorageError> {
        Ok(())
    }

    fn survives(&self) -> bool {
        false
    }
}
