//! GSS/Kerberos security contexts in Linux kernel keyrings.
//!
//! The kernel starts `lgss_keyring` when somebody needs a security context (request_key(2)); it answers at once with a
//! key in progress and negotiates in the background, through an unprivileged worker, until the key holds the context.
//! `docs/architecture.md` draws the processes and says which module may import which.
//!
//! Programs that use contexts need [`ctx`] (request a context, wait for it, read it; list and end contexts) and
//! [`crypto::mic`] (sign and verify with it):
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lgss::crypto::mic::{MicKeys, Role};
//! use lgss::ctx::{ContextRequest, client};
//! use std::time::Duration;
//!
//! let channel = "rpc:srv.example.test:2049,100003,4".parse()?;
//! let request = ContextRequest::new("nfs@srv.example.test".parse()?, channel);
//! let context = client::request(&request)?.established(Duration::from_secs(30))?;
//!
//! let key = &context.base_key;
//! let keys = MicKeys::new(key.enctype(), key.secret(), context.key_origin, Role::Initiator)?;
//! let signature = keys.sign(b"header of a call", context.send_sequence);
//! # Ok(()) }
//! ```

#![cfg_attr(
    not(feature = "gss"),
    allow(unreachable_pub, reason = "what the door shows with `gss` only is public in every build")
)]

pub mod crypto;
pub mod ctx;
mod event;
mod key;
mod nid;
pub mod secret;
mod text;
mod wire;

#[cfg(feature = "tools")]
mod cli;
mod config;
mod creds;
#[cfg(feature = "gss")]
mod gss;
mod identity;
mod negotiate;
mod selftest;
mod sys;
mod time;
mod upcall;
#[cfg(feature = "gss")]
mod worker;

#[doc(hidden)]
pub mod private_to_lgss;
