//! Changes of caches, and where they are kept.
//!
//! Every change goes through [`Storage`] before it is made and acknowledged ([`super::collections::Collections::apply`]).

use super::cache::HeldCache;
use super::codec::{CacheLabel, CredentialId, HeldCredential};
use super::peer::ClientScope;

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
        /// The one whose place it takes.
        replaced: Option<CredentialId>,
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

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageError {
    /// The kernel does not keep it.
    #[error("not stored: {0}")]
    #[cfg_attr(not(test), expect(dead_code, reason = "memory does not fail"))]
    Kernel(nix::errno::Errno),
}

/// Where caches outlive the process.
pub(super) trait Storage {
    /// Keeps a change. When this returns without an error, the change survives the process's end.
    ///
    /// # Errors
    /// [`StorageError`]; the change is neither made nor acknowledged then.
    fn record(&mut self, scope: &ClientScope, change: &Change) -> Result<(), StorageError>;

    /// Whether what was recorded survives the process's end.
    fn survives(&self) -> bool;
}

/// Nowhere: what the process holds ends with it.
#[derive(Debug)]
pub(super) struct Memory;

impl Storage for Memory {
    fn record(&mut self, _: &ClientScope, _: &Change) -> Result<(), StorageError> {
        Ok(())
    }

    fn survives(&self) -> bool {
        false
    }
}
