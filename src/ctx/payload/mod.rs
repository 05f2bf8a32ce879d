//! Layouts of key payloads, one file per kind of consumer.

mod flags;
#[cfg(feature = "upcall")]
pub(crate) mod lustre;
#[cfg(feature = "upcall")]
mod no_context;
mod texts;
pub mod user;
