//! Contexts that a program uses: made when they are needed, kept while they are good, and used to protect messages.
//!
//! [`Security`] stands for one service, channel and level; it looks up a [`ClientContext`] for whoever calls. The terms
//! are those of the design for Lustre's client of 2008 (§5.2): lookup, validate, refresh, flush, gc, die, release, match,
//! display, sign, verify, seal, unseal, bulk and reverse contexts.
//!
//! Called by programs, by `rpc` and by the C library. Invariants: no ticket and no long-term key comes into this process; a
//! token number is never used twice, not by threads, not by other processes, not after a fork; a received number is
//! accepted once.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lgss::ctx::ContextRequest;
//! use lgss::security::Security;
//! use std::time::Duration;
//!
//! let channel = "rpc:srv.example.test:2049,100003,4".parse()?;
//! let security = Security::new(ContextRequest::new("nfs@srv.example.test".parse()?, channel));
//! let context = security.lookup(Duration::from_secs(30))?;
//! let token = context.sign(b"header of a call")?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod arrival;
mod client_context;
mod error;
mod facts;
mod flush;
mod held;
mod message_keys;
mod negotiation;
mod numbers;
mod pending;
mod policy;
mod registry;

pub use arrival::Arrival;
pub use client_context::{ClientContext, Received};
pub use error::{LookupError, MessageError};
pub use flush::{Flush, Manner};
pub use pending::{Lookup, Pending};
pub use policy::Security;

#[cfg(test)]
mod tests;
