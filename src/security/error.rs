//! Why there is no context, and why a message was not protected or not accepted.

use std::io;

use crate::crypto::mic::MicError;
use crate::crypto::wrap::WrapError;
use crate::ctx::client::{ClientError, NotEstablished};
use crate::ctx::{NoContext, OsError};

/// Why a lookup has given no context. The same failure is told to all threads that waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The negotiation failed: stage, cause, detail and remedy are in it, as far as the caller may know them.
    #[error(transparent)]
    Failed(#[from] NoContext),
    /// The time is up. The negotiation goes on, and the next lookup waits for the same one.
    #[error("no context yet: the negotiation goes on")]
    InProgress,
    /// The request could not be made, or its key cannot be read.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The context has no place to be kept: EDQUOT, the caller's quota of keys is full.
    #[error("the context cannot be kept in a keyring: {0}")]
    Keeping(OsError),
    /// The thread acts with one uid for files and keys and with another one for the rest (setfsuid(2)), or the process has changed its
    /// uid during the negotiation: it would not be clear whose context it is.
    #[error("the uid of the process changes, or is not the one that it has for files and keys")]
    WhichUser,
    /// No thread could be started for the negotiation.
    #[error("no thread for the negotiation: {0}")]
    Thread(io::ErrorKind),
    /// The context was negotiated, and has ended before it could be used.
    #[error("the context has ended at once: {0}")]
    Ended(MessageError),
}

impl From<NotEstablished> for LookupError {
    fn from(error: NotEstablished) -> Self {
        match error {
            NotEstablished::Failed(no_context) => Self::Failed(no_context),
            NotEstablished::InProgress => Self::InProgress,
            NotEstablished::Client(error) => Self::Client(error),
        }
    }
}

/// Why a message is not protected, or a protected message not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The signature is malformed, or is not of this message and context.
    #[error(transparent)]
    Mic(#[from] MicError),
    /// The sealed token is malformed, or is not of this context.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// This number has been received before: the message is a copy.
    #[error("message number {0} has been received before")]
    Duplicate(u64),
    /// This number lies so far below the highest that it cannot be told whether it has been received before.
    #[error("message number {0} is too old to be told from a copy")]
    Old(u64),
    /// The context's time is over; seconds since the epoch.
    #[error("the context has ended at {0} s since 1970; look up a new one")]
    Expired(u32),
    /// The context was flushed or given up, or its key was revoked, invalidated or has expired.
    #[error("the context has been ended; look up a new one")]
    Dead,
    /// The context belongs to the process that this one was forked from, which goes on counting its messages.
    #[error("the context belongs to the parent process; look up a new one")]
    Forked,
    /// All numbers of the context have been used.
    #[error("the context has no numbers left; look up a new one")]
    Exhausted,
    /// Other processes use the context, too, and RPCSEC_GSS has one sequence for all of them.
    #[error("the context is shared with other processes, whose calls cannot be counted")]
    Shared,
}

impl MessageError {
    /// The GSS major status for it (RFC 2744 §3.9.1).
    pub fn gss_major(&self) -> u32 {
        match self {
            Self::Mic(error) => error.gss_major(),
            Self::Wrap(error) => error.gss_major(),
            Self::Duplicate(_) => GSS_S_DUPLICATE_TOKEN,
            Self::Old(_) => GSS_S_OLD_TOKEN,
            Self::Expired(_) | Self::Exhausted => GSS_S_CONTEXT_EXPIRED,
            Self::Dead | Self::Forked => GSS_S_NO_CONTEXT,
            Self::Shared => GSS_S_UNAVAILABLE,
        }
    }
}

const GSS_S_DUPLICATE_TOKEN: u32 = 1 << 1;
const GSS_S_OLD_TOKEN: u32 = 1 << 2;
const GSS_S_NO_CONTEXT: u32 = 8 << 16;
const GSS_S_CONTEXT_EXPIRED: u32 = 12 << 16;
const GSS_S_UNAVAILABLE: u32 = 16 << 16;
