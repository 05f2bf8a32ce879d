//! Who asks, where the request comes from, and proof that a process has no privileges left.
//!
//! Used by the front before it authorises, and by the worker before it does anything.
#![forbid(unsafe_code)]

pub(crate) mod counted_owner;
mod error;
#[cfg(feature = "test-programs")]
pub mod fuzz;
pub(crate) mod id_map;
pub(crate) mod key_list;
pub(crate) mod requester;
pub(crate) mod system_user;
#[cfg(feature = "gss")]
pub(crate) mod unprivileged;
