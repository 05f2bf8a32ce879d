//! Negotiation of a context: mechanisms, channels, and the messages between worker and monitor.
//!
//! The worker drives it; the monitor knows only [`messages`].
#![forbid(unsafe_code)]

pub mod messages;
