//! GSS/Kerberos security contexts in Linux kernel keyrings.
//!
//! The kernel starts `lgss_keyring` when somebody needs a security context (request_key(2)); it answers at once with a
//! key in progress and negotiates in the background, through an unprivileged worker, until the key holds the context.
//! `docs/architecture.md` draws the processes and says which module may import which.
//!
//! Programs that use contexts need [`ctx`] (request a context, wait for it, read it; list and end contexts) and
//! [`crypto::mic`] (sign and verify with it; [`crypto::kdf`] derives other keys):
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
//!
//! A program that depends on this crate needs no feature. `upcall` and `gss` build `lgss_keyring`, `lgss_kcm`, `lgss_helper` and `lgss_negotiate`, `tools`
//! builds `lgss`, `lgss_sk` and `lgss_kinit`.

#![cfg_attr(
    not(feature = "gss"),
    allow(unreachable_pub, reason = "what the door shows with `gss` only is public in every build")
)]

pub mod class;
pub mod crypto;
pub mod ctx;
#[cfg(feature = "upcall")]
mod door;
mod event;
#[cfg(feature = "upcall")]
mod hook;
#[cfg(feature = "upcall")]
mod kcm;
mod key;
#[cfg(feature = "tools")]
mod kinit;
#[cfg(feature = "upcall")]
mod nid;
pub mod secret;
#[cfg(feature = "upcall")]
mod system_log;
mod text;
mod wire;

#[cfg(feature = "upcall")]
mod agent;
#[cfg(feature = "tools")]
mod cli;
#[cfg(feature = "upcall")]
mod config;
#[cfg(feature = "upcall")]
mod creds;
#[cfg(feature = "gss")]
mod gss;
#[cfg(feature = "upcall")]
mod helper;
#[cfg(feature = "upcall")]
mod identity;
#[cfg(feature = "upcall")]
mod negotiate;
#[cfg(feature = "upcall")]
mod provider;
#[cfg(feature = "upcall")]
mod renewal_times;
#[cfg(feature = "upcall")]
mod selftest;
#[cfg(feature = "tools")]
mod sk_tool;
mod sys;
#[cfg(feature = "tools")]
mod terminal;
mod time;
#[cfg(feature = "upcall")]
mod upcall;
#[cfg(feature = "gss")]
mod worker;

#[cfg(feature = "upcall")]
#[doc(hidden)]
pub mod private_to_lgss;
