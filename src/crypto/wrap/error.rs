//! Why a token is not made or refused.

use crate::crypto::ends::{GSS_S_BAD_SIG, GSS_S_DEFECTIVE_TOKEN, GSS_S_FAILURE};

/// Why a token is refused, or was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// Shorter than the shortest of its kind.
    #[error("token of {0} bytes is too short")]
    Short(usize),
    /// It does not begin with `05 04`.
    #[error("token id {:02x} {:02x} is not that of a Wrap token", .0[0], .0[1])]
    Id([u8; 2]),
    /// Its SentByAcceptor flag names our own end.
    #[error("token was sent by our own end of the context")]
    OwnEnd,
    /// Its AcceptorSubkey flag disagrees with the context.
    #[error("token was made with the other end's choice of key")]
    Subkey,
    /// Its filler byte is not `ff`.
    #[error("filler byte of the token is not ff")]
    FillerByte,
    /// EC does not fit: of a token that is only signed it is the checksum's length, of a sealed one no more than there are bytes.
    #[error("extra count {0} does not fit the token")]
    ExtraCount(u16),
    /// A token in pieces must be sealed.
    #[error("token is not sealed")]
    NotSealed,
    /// A token in pieces must not be rotated.
    #[error("token in pieces is rotated by {0} bytes")]
    Rotated(u16),
    /// The pieces before or after the buffers have the wrong length.
    #[error("pieces of {head} and {tail} bytes around the message do not fit the context")]
    Pieces {
        /// Bytes before the buffers.
        head: usize,
        /// Bytes after them.
        tail: usize,
    },
    /// The token or the key is not what was sealed.
    #[error("token was changed, or made with another key")]
    Mismatch,
    /// The kernel gives no random numbers (getrandom(2)).
    #[error("the kernel gives no random numbers")]
    Random,
}

impl WrapError {
    /// The GSS major status for it (RFC 2744 §3.9.1): GSS_S_BAD_SIG for a well-formed token, GSS_S_DEFECTIVE_TOKEN for one that is
    /// not, GSS_S_FAILURE if none could be made.
    pub fn gss_major(&self) -> u32 {
        match self {
            Self::Mismatch => GSS_S_BAD_SIG,
            Self::Random => GSS_S_FAILURE,
            _ => GSS_S_DEFECTIVE_TOKEN,
        }
    }
}
