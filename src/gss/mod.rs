//! MIT Kerberos and its GSS mechanism behind safe, owning types; the thinnest layer that makes them safe.
//!
//! Used by `creds` (caches and tickets) and `negotiate::mech` (contexts). Invariant: whatever the library allocates is
//! freed by the library's own function when its owner is dropped; nothing here consults a default cache, a default
//! keytab or a home directory; key bytes leave the library only as [`crate::secret::Secret`].
#![expect(unsafe_code, reason = "calls of the C library; each block says why it is sound")]

pub mod clock;
pub mod collection;
pub mod configuration;
pub mod context;
pub mod keytab;
pub mod krb5;
pub mod krb5_conf;
pub mod listing;
pub mod principal;
pub mod private_cache;
pub mod renewal;
pub mod status;
pub mod ticket;
pub mod trace;

mod ffi;
mod file_format;
mod lucid;
mod replies;
mod skew;
