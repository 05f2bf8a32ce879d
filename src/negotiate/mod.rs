//! Negotiation of a context: mechanisms, channels, the loop that joins them, and the messages between worker and monitor.
//!
//! The worker runs it, the monitor knows only [`messages`], and clients use the encodings in [`channel`].
#![forbid(unsafe_code)]

pub(crate) mod channel;
#[cfg(feature = "gss")]
pub(crate) mod drive;
#[cfg(feature = "test-programs")]
pub mod fuzz;
#[cfg(feature = "gss")]
pub(crate) mod mech;
pub(crate) mod messages;
pub(crate) mod nid_host;
pub(crate) mod renewing;

/// Most tokens that we send. Kerberos needs one, DCE-style three.
pub(crate) const ROUND_LIMIT: usize = 16;
