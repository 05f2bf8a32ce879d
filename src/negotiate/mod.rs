//! Negotiation of a context: mechanisms, channels, what drives one over the other, and the messages between worker and
//! monitor.
//!
//! The worker drives it; the monitor knows only [`messages`]; clients use the encodings in [`channel`].
#![forbid(unsafe_code)]

pub mod channel;
pub mod drive;
pub mod mech;
pub mod messages;
pub mod nid_host;
