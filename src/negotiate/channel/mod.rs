//! Ways to carry tokens to a server, one file or folder each.
//!
//! [`super::drive`] sees only the trait. Invariant: an exchange ends within its time limit, however slowly the server sends.

pub(crate) mod answer;
#[cfg(feature = "gss")]
mod error;
pub(crate) mod lustre;
#[cfg(feature = "gss")]
pub(crate) mod rpc;

pub(crate) use answer::{Answer, GSS_S_COMPLETE};
#[cfg(feature = "gss")]
pub(crate) use answer::{GSS_S_UNAUTHORIZED, WindowProof};
#[cfg(feature = "gss")]
pub(crate) use error::ChannelError;

#[cfg(feature = "gss")]
use crate::ctx::Handle;
#[cfg(feature = "gss")]
use crate::secret::Secret;

/// Exchanges tokens with one server, one at a time.
#[cfg(feature = "gss")]
pub trait Channel {
    /// Sends a token, with the handle once the server has given one, and waits for the answer.
    ///
    /// # Errors
    /// [`ChannelError`].
    fn exchange(&mut self, handle: Option<&Handle>, token: &Secret) -> Result<Answer, ChannelError>;
}
