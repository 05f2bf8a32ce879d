//! Security contexts: their parts as types, their states, their layout in a key's payload, and the client's side.
//!
//! Used by the upcall that writes payloads, by the worker that negotiates, by tools and programs that read them.
#![forbid(unsafe_code)]

pub mod client;
mod context;
mod context_request;
mod destination;
#[cfg(feature = "test-programs")]
pub(crate) mod fuzz;
pub(crate) mod initiator;
#[cfg(feature = "upcall")]
pub(crate) mod lustre;
mod no_context;
mod os_error;
pub(crate) mod payload;
pub(crate) mod preference;
pub(crate) mod request;
pub(crate) mod rings;
pub mod visible;

pub use context::{BaseKey, Context, HANDLE_LIMIT, Handle, Lifetime, SeqWindow};
pub use context_request::ContextRequest;
pub use initiator::{Initiator, Principal};
pub use no_context::NoContext;
pub use os_error::OsError;
pub use payload::user::{PayloadError, State};
pub use preference::Preference;
pub use request::{CALLOUT_LIMIT, Description, Level, OnPause, Owner, RequestError, RpcChannel, Service};
pub use rings::Doubt;

pub use crate::event::Reason;
pub use crate::key::{KeySerial, NotASerial};
pub use crate::wire::WireError;
