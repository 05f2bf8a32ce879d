//! Bounds-checked reading and writing of binary layouts: key payloads, RPC records, worker messages.
#![forbid(unsafe_code)]

mod reader;
#[cfg(feature = "upcall")]
mod writer;

pub(crate) use reader::Reader;
pub use reader::WireError;
#[cfg(feature = "upcall")]
pub(crate) use writer::{Writer, without_context};
