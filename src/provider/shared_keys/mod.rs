//! Lustre's shared keys in root's user keyring: listed and loaded.
//!
//! Called by `lgss_sk` and by lgss_helper. Invariant: a secret crosses the pipe towards the helper only, and no answer has one.

mod listing;
pub(crate) mod loaded_names;
mod loading;
mod operations;
pub(crate) mod remaining;
pub(crate) mod root_keyring;

#[cfg(feature = "tools")]
pub(crate) use listing::{KeyAttributes, LoadedReport};
#[cfg(feature = "tools")]
pub(crate) use loading::{PREVIOUS_LIFE, Verbosity};
#[cfg(feature = "tools")]
pub(crate) use operations::Loaded;
pub(crate) use operations::{ListSharedKeys, LoadSharedKey};
