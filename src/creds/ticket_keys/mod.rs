//! Machine tickets in keys of root's user keyring, in place of a file below the run directory
//! (`machine.cache = "keyring"`; docs/formats.md, "Machine tickets in keys").
//!
//! The monitor stages empty keys while it still may make some, and later fills them ([`StagedKeys`]); the launcher reads
//! them, the front asks whether they are there, `lgss flush --machine` drops them. Invariant: a key is believed only if
//! it is its reader's own and nobody else has any right to it, and all of a cache is found or nothing.

mod failure;
mod head;
mod kept;
mod name;
mod staged;

pub(crate) use failure::TicketKeyFailure;
#[cfg(feature = "test-programs")]
pub(crate) use head::is_written_as_read as fuzz_head;
#[cfg(any(feature = "tools", test))]
pub(crate) use kept::{KeptKey, kept_below};
pub(crate) use kept::{is_there, read};
pub(crate) use name::TicketKeyName;
pub(crate) use staged::StagedKeys;

#[cfg(test)]
mod tests;
