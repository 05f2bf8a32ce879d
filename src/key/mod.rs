//! Kernel keys as types: a serial, the kernel's description of a key, the authority over a key under construction, and
//! a live key that must be finished.
//!
//! Used by the upcall and the tools. Invariant: a [`LiveKey`] is published or failed; dropping it fails it.
#![forbid(unsafe_code)]

#[cfg(feature = "upcall")]
pub(crate) mod auth_line;
#[cfg(feature = "upcall")]
pub(crate) mod authority;
mod description;
#[cfg(feature = "test-programs")]
pub mod fuzz;
#[cfg(feature = "upcall")]
mod linked;
#[cfg(feature = "upcall")]
mod live;
#[cfg(feature = "upcall")]
pub(crate) mod quota;
mod serial;

#[cfg(feature = "upcall")]
pub(crate) use authority::{Authority, Permission};
pub(crate) use description::KeyDescription;
#[cfg(feature = "upcall")]
pub(crate) use description::id_of_kernel;
#[cfg(feature = "tools")]
pub(crate) use description::{POSSESSORS, VISIBLE};
#[cfg(any(feature = "tools", all(feature = "upcall", test)))]
pub(crate) use linked::LinkedKey;
#[cfg(feature = "upcall")]
pub(crate) use linked::{is_keyring, keys_in};
#[cfg(feature = "upcall")]
pub(crate) use live::{Consumer, LiveKey, REJECT_TTL};
pub use serial::{KeySerial, NotASerial};
