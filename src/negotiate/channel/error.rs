//! Errors of a token exchange.

use crate::negotiate::messages::FrameError;
use crate::onc_rpc::record::RecordError;
use crate::onc_rpc::reply::RpcReplyError;
use crate::wire::WireError;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Our token does not fit a call.
    #[error("token for the server: {0}")]
    Call(WireError),
    /// No complete answer within the round's limit.
    #[error("no answer in time")]
    Silent,
    /// The connection broke while sending or receiving.
    #[error("connection lost: {0}")]
    Lost(std::io::Error),
    /// The server closed the connection after this many bytes of an answer.
    #[error("connection closed by the server after {0} bytes of its answer")]
    Closed(usize),
    /// The answer is not in the channel's format.
    #[error("malformed answer: {0}")]
    Malformed(RecordError),
    /// The kernel stopped waiting for the answer. The server may or may not have taken the token.
    #[error("no answer to the token")]
    Unanswered,
    /// The sandbox cannot be closed, so no answer is awaited.
    #[error("sandbox: {0}")]
    Sandbox(std::io::Error),
    /// The monitor did not pass the answer on.
    #[error("monitor: {0}")]
    Relay(#[from] FrameError),
    /// The answer does not reply to the call, or refuses it.
    #[error(transparent)]
    Reply(#[from] RpcReplyError),
}

impl From<RecordError> for ChannelError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Silent => Self::Silent,
            RecordError::Lost(error) => Self::Lost(error),
            RecordError::Closed(received) => Self::Closed(received),
            RecordError::TooLong | RecordError::TooManyFragments => Self::Malformed(error),
        }
    }
}
