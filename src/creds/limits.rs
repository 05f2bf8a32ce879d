//! Limits that several programs share, so that what one of them reports holds for the others.

/// Largest cache that is read or written, in bytes.
pub(crate) const CACHE_BYTES: u32 = 16 * 1024 * 1024;
/// Largest `.k5identity`, in bytes.
pub(crate) const IDENTITIES_BYTES: u32 = 64 * 1024;
/// Most places that may block a search before the search is given up.
pub(crate) const BLOCKED_PLACES: usize = 4;
