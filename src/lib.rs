//! GSS/Kerberos security contexts in Linux kernel keyrings.
//!
//! The kernel starts `lgss_keyring` when somebody needs a security context (request_key(2)); it answers at once with a
//! key in progress and negotiates in the background, through an unprivileged worker, until the key holds the context.
//! `docs/architecture.md` draws the processes; the layers below are in the order of what may import what.
//!
//! Programs that use contexts need [`ctx`] (find a context key, wait for it, read it; list and end contexts) and [`crypto::mic`] (sign and
//! verify with it).

pub mod crypto;
pub mod ctx;
pub mod event;
pub mod key;
pub mod nid;
pub mod secret;
pub mod text;
pub mod wire;

#[cfg(feature = "tools")]
pub mod cli;
pub mod config;
pub mod creds;
#[cfg(feature = "gss")]
pub mod gss;
pub mod identity;
pub mod negotiate;
pub mod selftest;
pub mod sys;
pub mod time;
pub mod upcall;
#[cfg(feature = "gss")]
pub mod worker;
