//! Calls of ONC RPC that are protected by a context: RPCSEC_GSS (RFC 2203) over TCP (RFC 5531).
//!
//! For programs that talk to servers such as NFS's: [`Client`] signs calls, or signs or encrypts their arguments and results
//! too, by contexts of a [`Security`](crate::security::Security). Arguments and results are XDR (RFC 4506): [`XdrEncoder`],
//! [`XdrDecoder`].
//!
//! Invariants: results are given only if the server that granted the context has signed them for this very call; a server
//! can make a call wait to the end of its time limit, and take the memory of the longest reply twice, but not more.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lgss::ctx::{ContextRequest, Level};
//! use lgss::rpc::{CallProtection, Client, ClientOptions, NULL_PROCEDURE};
//! use lgss::security::Security;
//!
//! let channel = "rpc:srv.example.test:2049,100003,4".parse()?;
//! let request = ContextRequest::new("nfs@srv.example.test".parse()?, channel);
//! let security = Security::new(ContextRequest { level: Level::Privacy, ..request });
//! let options = ClientOptions { protection: CallProtection::Privacy, ..ClientOptions::default() };
//! let client = Client::new(security, options);
//! client.call(NULL_PROCEDURE, &[])?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod body;
mod client;
mod connection;
mod error;
mod exchange;
#[cfg(feature = "test-programs")]
pub(crate) mod fuzz;
mod turns;
mod xdr;

#[cfg(test)]
mod tests;

pub use body::CallProtection;
pub use client::{Client, ClientOptions};
pub use error::{Interruption, RpcError, Unconnected};
pub use xdr::{XdrDecoder, XdrEncoder};

pub use crate::onc_rpc::call::NULL_PROCEDURE;
pub use crate::onc_rpc::reply::{AuthStatus, RpcReplyError};
pub use crate::wire::WireError;
