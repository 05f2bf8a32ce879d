//! Who asks, where the request comes from, and proof of having no rights left.
//!
//! Used by the front before it authorises, and by the worker before it does anything.
#![forbid(unsafe_code)]

mod error;
pub mod id_map;
pub mod key_list;
pub mod owner;
pub mod requester;
pub mod system_user;
#[cfg(feature = "gss")]
pub mod unprivileged;
