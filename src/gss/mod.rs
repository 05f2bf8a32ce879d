//! MIT Kerberos and its GSS mechanism behind safe, owning types: the thinnest layer that makes them safe.
//!
//! Used by `creds` (caches and tickets), `negotiate::mech` (contexts) and `kinit`. Invariants: everything that the library
//! allocates is freed by the library's own function when its owner is dropped; nothing here consults a default cache, a
//! default keytab or a home directory, but for what `kinit` alone calls, which serves a person; key bytes leave the library
//! only as [`crate::secret::Secret`].
#![expect(unsafe_code, reason = "calls of the C library; each block says why it is sound")]

pub(crate) mod clock;
pub(crate) mod collection;
pub(crate) mod configuration;
pub(crate) mod context;
#[cfg(feature = "test-programs")]
pub mod fuzz;
#[cfg(feature = "tools")]
pub(crate) mod initial;
pub(crate) mod keytab;
pub(crate) mod krb5;
pub(crate) mod krb5_conf;
pub(crate) mod listing;
#[cfg(feature = "tools")]
pub(crate) mod placing;
pub(crate) mod principal;
pub(crate) mod private_cache;
pub(crate) mod renewal;
pub(crate) mod status;
pub(crate) mod ticket;
pub(crate) mod trace;

mod ffi;
mod file_format;
mod lucid;
mod replies;
mod skew;
