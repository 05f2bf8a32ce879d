//! Drops what has expired.
//!
//! Called by the event loop from time to time, and by operations that meet a limit. A cache stays for a while after the last
//! of its tickets has ended, so that klist(1) shows what has expired, and programs know whose tickets are missing.

use super::change::{Change, StorageError};
use super::codec::{CacheLabel, CredentialId};
use super::collections::Collections;
use super::peer::ClientScope;

/// How long a cache stays after its last ticket has ended, in seconds: a night.
pub(super) const CACHE_STAYS: u32 = 12 * 3600;
/// How long a ticket stays after its end, in seconds, in a cache with one that ends later.
pub(super) const TICKET_STAYS: u32 = 3600;

/// Who has to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure<'a> {
    /// Nobody.
    None,
    /// There is a limit: nothing that has expired stays, except for the cache that is about to get something, which loses its
    /// tickets.
    LimitMet {
        /// The scope of that cache.
        scope: &'a ClientScope,
        /// Its name.
        label: &'a CacheLabel,
    },
}

/// A cache that was dropped: its name and principal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) label: CacheLabel,
    pub(super) principal: String,
}

/// Drops caches and tickets that have expired. Adds the caches to `dropped`, those before an error, too.
///
/// # Errors
/// [`StorageError`] of the first change that was not stored.
pub(super) fn sweep(
    collections: &mut Collections,
    pressure: Pressure<'_>,
    now: u32,
    dropped: &mut Vec<Dropped>,
) -> Result<(), StorageError> {
    let (cache_stays, ticket_stays, written) = match pressure {
        Pressure::None => (CACHE_STAYS, TICKET_STAYS, None),
        Pressure::LimitMet { scope, label } => (0, 0, Some((scope, label))),
    };
    let is_over = |end: u32, stays: u32| end.saturating_add(stays) <= now;
    let mut changes: Vec<(ClientScope, Change, Option<Dropped>)> = Vec::new();
    for (scope, label, cache) in collections.all() {
        let (last, is_written) = (cache.last_end(), written == Some((scope, label)));
        // A cache without tickets is being made: no limit takes it away.
        let stays = if cache.credentials().any(|(_, credential)| credential.end().is_some()) {
            cache_stays
        } else {
            CACHE_STAYS
        };
        if is_over(last, stays) && !is_written {
            let named = Dropped { label: label.clone(), principal: cache.shown_principal() };
            changes.push((scope.clone(), Change::RemoveCache { label: label.clone() }, Some(named)));
            continue;
        }
        let over = cache.credentials().filter(|(_, credential)| {
            let end = credential.end().map(|end| cache.here(end));
            end.is_some_and(|end| (end < last || is_written) && is_over(end, ticket_stays))
        });
        let ids: Vec<CredentialId> = over.map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            changes.push((scope.clone(), Change::RemoveCredentials { label: label.clone(), ids }, None));
        }
    }
    for (scope, change, named) in changes {
        collections.apply(&scope, change, now)?;
        dropped.extend(named);
    }
    Ok(())
}
