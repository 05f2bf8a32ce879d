//! GSS/Kerberos security contexts in Linux kernel keyrings.
//!
//! The kernel starts `lgss_keyring` when somebody needs a security context (request_key(2)); it answers at once with a
//! key in progress and negotiates in the background, through an unprivileged worker, until the key holds the context.
//! `docs/architecture.md` draws the processes and says which module may import which.
//!
//! # For programs
//!
//! [`security`] is the way in: it gets a context with a service, keeps it while it is good, replaces it before it ends, and
//! signs and seals messages with it.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lgss::ctx::ContextRequest;
//! use lgss::security::Security;
//! use std::time::Duration;
//!
//! let channel = "rpc:srv.example.test:2049,100003,4".parse()?;
//! let security = Security::new(ContextRequest::new("nfs@srv.example.test".parse()?, channel));
//!
//! let context = security.lookup(Duration::from_secs(30))?;
//! let signature = context.sign(b"header of a call")?;
//! let sealed = context.seal(b"arguments of a call")?;
//! # Ok(()) }
//! ```
//!
//! [`rpc`] makes calls to RPC servers with it, such as NFS's.
//!
//! `docs/library.md` is the guide: waiting and event loops, whose context it is, what ends one, fork, failures in words.
//!
//! Whoever wants less takes the layers below it:
//!
//! * [`ctx`] requests a context and reads it from its key, once: [`ctx::client`]. It also lists and ends contexts:
//!   [`ctx::visible`].
//! * [`crypto`] makes and checks tokens with a context's base key, and leaves the counting to its caller: signatures
//!   ([`crypto::mic`]), sealed messages ([`crypto::wrap`]), other keys ([`crypto::kdf`]).
//!
//! A program that depends on this crate needs no feature, no libclang and no Kerberos library. The features build the programs of this package: `upcall`
//! and `gss` build `lgss_keyring`, `lgss_kcm`, `lgss_helper` and `lgss_negotiate`, `tools` builds `lgss`, `lgss_sk` and `lgss_kinit`.

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
mod onc_rpc;
pub mod rpc;
pub mod secret;
pub mod security;
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

/// Compiles the programs in the guide.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct Guide;
