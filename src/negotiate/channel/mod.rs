//! Ways to carry tokens to a server, one file or folder each.
//!
//! [`super::drive`] sees only the trait. Invariant: an exchange ends within its own time limit, however the server
//! spreads its bytes.

pub mod answer;
mod error;
pub mod lustre;
pub mod rpc;
pub mod tcp;

pub use answer::{Answer, WindowProof};
pub use error::ChannelError;

use crate::ctx::Handle;
use crate::secret::Secret;

/// One exchange of tokens after the other with one server.
pub trait Channel {
    /// Sends a token, with the handle once the server has given one, and waits for the answer.
    ///
    /// # Errors
    /// [`ChannelError`].
    fn exchange(&mut self, handle: Option<&Handle>, token: &Secret) -> Result<Answer, ChannelError>;
}
