//! Security contexts: their parts as types, their states, their layout in a key's payload, and the client's side.
//!
//! Used by the upcall that writes payloads, by the worker that negotiates, by tools and programs that read them.
#![forbid(unsafe_code)]

pub mod client;
mod context;
mod destination;
pub mod initiator;
pub mod lustre;
pub mod payload;
pub mod preference;
pub mod request;
pub mod rings;
pub mod visible;

pub use context::{BaseKey, Context, HANDLE_LIMIT, Handle, Lifetime, SeqWindow};
