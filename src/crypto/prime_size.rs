//! How long the primes of shared keys are. Lustre's form of a key sets both limits.

/// Shortest prime, in bits.
#[cfg(feature = "gss")]
pub(crate) const PRIME_FLOOR: u32 = 512;
/// Longest prime, in bits.
pub(crate) const PRIME_CEILING: u32 = 16384;
/// The same in bytes: the room in a shared key.
pub(crate) const PRIME_LIMIT: usize = PRIME_CEILING as usize / 8;
