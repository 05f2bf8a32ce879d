//! Where credentials come from: names of credential caches, the default one, opening them safely, and the ticket in one.
//!
//! Used by the launcher, which has no Kerberos library and opens caches, and by the worker, which gets what was opened.
#![forbid(unsafe_code)]

pub mod budget;
pub mod cache_name;
#[cfg(feature = "gss")]
pub mod choice;
#[cfg(feature = "gss")]
pub mod client_keytab;
#[cfg(feature = "gss")]
mod contention;
pub mod default_cache;
#[cfg(feature = "gss")]
mod file_shape;
pub mod file_system;
#[cfg(feature = "gss")]
mod identities;
pub mod keyring_copy;
pub mod limits;
#[cfg(feature = "gss")]
pub mod machine;
pub mod open;
mod passwd;
mod path;
#[cfg(feature = "gss")]
mod patience;
#[cfg(feature = "gss")]
pub mod ranking;
#[cfg(feature = "gss")]
pub mod renewal;
pub mod roots;
pub mod search;
pub mod source;
pub mod source_list;
pub mod stamp;
#[cfg(feature = "gss")]
pub mod survey;
#[cfg(test)]
mod test_root;
#[cfg(feature = "gss")]
pub mod ticket;
pub mod visible_ring;
