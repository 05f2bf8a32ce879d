//! Where credentials come from, and why one was chosen.
//!
//! Used by the worker. What is found here is said with the name that a person knows a cache by.
#![forbid(unsafe_code)]

#[cfg(feature = "gss")]
pub mod ticket;
