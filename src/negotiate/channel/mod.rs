//! Ways to carry tokens to a server, one file or folder each.
//!
//! [`super::drive`] sees only the trait. Invariant: an exchange ends within its own time limit, however the server
//! spreads its bytes.

pub mod lustre;
pub mod rpc;
pub mod tcp;

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

/// A server's answer to a token.
#[derive(Debug)]
pub struct Answer {
    /// Its name for the context; may be empty after the first answer.
    pub handle: Vec<u8>,
    /// Its GSS major status (RFC 2743 §1.2.1.1).
    pub gss_major: u32,
    /// Its minor status, of the mechanism.
    pub gss_minor: u32,
    /// Its sequence window, meaningful when it is complete.
    pub window: u32,
    /// Its token, if any.
    pub token: Secret,
    /// What proves that the window is the server's.
    pub window_proof: WindowProof,
}

/// Proof of the window's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowProof {
    /// A message integrity code over the window as `u32 be` (RFC 2203 §5.2.3.1).
    Mic(Vec<u8>),
    /// None came.
    Missing,
    /// None is needed: the kernel has the answer from its own connection.
    TheKernels,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Our token does not fit a call.
    #[error("token for the server: {0}")]
    Call(crate::wire::WireError),
    /// No complete answer within the round's limit.
    #[error("no answer in time")]
    Silent,
    /// The connection broke while sending or receiving.
    #[error("connection lost: {0}")]
    Lost(std::io::Error),
    /// The server closed the connection and had sent so many bytes of an answer.
    #[error("connection closed by the server after {0} bytes of its answer")]
    Closed(usize),
    /// The answer is not in the channel's format.
    #[error("malformed answer: {0}")]
    Malformed(rpc::record::RecordError),
    /// The kernel has given up waiting for the answer; the server may have taken the token, or not.
    #[error("no answer to the token")]
    Unanswered,
    /// The monitor does not hand the answer over.
    #[error("monitor: {0}")]
    Relay(#[from] super::messages::MessageError),
    /// The answer is no reply to the call, or refuses it.
    #[error(transparent)]
    Reply(#[from] rpc::reply::ReplyError),
}
