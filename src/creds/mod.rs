//! Where credentials come from: names of credential caches, the default cache, opening caches safely, tickets in
//! them.
//!
//! Used by the launcher, which opens caches and has no Kerberos library, and by the worker, which gets the open
//! files.
#![forbid(unsafe_code)]

pub(crate) mod budget;
pub(crate) mod cache_name;
#[cfg(feature = "gss")]
pub(crate) mod choice;
#[cfg(feature = "gss")]
pub(crate) mod client_keytab;
#[cfg(feature = "gss")]
mod contention;
pub(crate) mod default_cache;
#[cfg(feature = "gss")]
mod file_shape;
pub(crate) mod file_system;
#[cfg(feature = "test-programs")]
pub mod fuzz;
#[cfg(feature = "gss")]
mod identities;
pub(crate) mod keyring_copy;
pub(crate) mod keytab_file;
pub(crate) mod limits;
#[cfg(feature = "gss")]
pub(crate) mod machine;
pub(crate) mod open;
mod passwd;
mod path;
#[cfg(feature = "gss")]
mod patience;
#[cfg(feature = "gss")]
pub(crate) mod ranking;
#[cfg(feature = "gss")]
pub(crate) mod renewal;
#[cfg(feature = "gss")]
pub(crate) mod renewed;
pub(crate) mod roots;
pub(crate) mod search;
#[cfg_attr(
    not(feature = "tools"),
    allow(dead_code, unused_imports, reason = "the upcall and the worker read keys only")
)]
pub(crate) mod shared_key;
pub(crate) mod source;
pub(crate) mod source_list;
pub(crate) mod stamp;
#[cfg(feature = "gss")]
pub(crate) mod survey;
#[cfg(test)]
mod test_root;
#[cfg(feature = "gss")]
pub(crate) mod ticket;
pub(crate) mod ticket_keys;
pub(crate) mod visible_ring;
