//! Limits that several programs must share, so that what one of them says holds for the others.

/// Largest cache that is read or written, in bytes.
pub(crate) const CACHE_BYTES: u32 = 16 * 1024 * 1024;
/// Largest keytab, in bytes.
pub(crate) const KEYTAB_BYTES: u32 = 4 * 1024 * 1024;
/// Most places that may block a search before it is given up.
pub(crate) const BLOCKED_PLACES: usize = 4;
