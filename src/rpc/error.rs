//! Why a call has no results.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::crypto::wrap::WrapError;
use crate::onc_rpc::record::RecordError;
use crate::onc_rpc::reply::{AuthStatus, RpcReplyError};
use crate::onc_rpc::tcp::ConnectError;
use crate::security::{LookupError, MessageError};
use crate::wire::WireError;

/// Why a call has no results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// There is no context; the error says why, and what to do.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The context cannot protect the call.
    #[error("protecting the call: {0}")]
    Message(#[from] MessageError),
    /// There is no connection to the server.
    #[error("{0}")]
    Connect(Unconnected),
    /// The server has not answered within the time limit. Whether it has carried out the call is not known.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// The connection broke, and again after the call was sent on a new one. Whether the server has carried out the call is not
    /// known.
    #[error("connection to the server: {0}")]
    Lost(Interruption),
    /// The server refuses the call, or its reply makes no sense.
    #[error(transparent)]
    Reply(#[from] RpcReplyError),
    /// The results are not as their protection lays them out.
    #[error("results of the call: {0}")]
    Results(#[from] WireError),
    /// The signature of the results is not the server's.
    #[error("the results are not signed by the server")]
    Unsigned,
    /// The results cannot be decrypted.
    #[error("results of the call: {0}")]
    Sealed(WrapError),
    /// The results are signed, but belong to another call: a copy.
    #[error("the results belong to call {found}, not {expected}")]
    OtherNumber {
        /// The call's sequence number.
        expected: u32,
        /// The one in the results.
        found: u32,
    },
    /// The results were to be encrypted, and are not.
    #[error("the results are not encrypted")]
    InTheClear,
}

impl RpcError {
    /// Whether the server does not know the context, or does not let it be used any more (RFC 2203 §5.3.3.3). Nobody has
    /// signed that.
    pub(super) fn is_about_the_context(&self) -> bool {
        self.says_the_context_is_unknown()
            || matches!(
                self,
                Self::Message(MessageError::Exhausted | MessageError::Dead | MessageError::Expired(_))
            )
    }

    /// Whether the server says so.
    pub(super) fn says_the_context_is_unknown(&self) -> bool {
        let statuses =
            [AuthStatus::REJECTED_CREDENTIAL, AuthStatus::CREDENTIAL_PROBLEM, AuthStatus::CONTEXT_PROBLEM];
        matches!(self, Self::Reply(RpcReplyError::Rejected(status)) if statuses.contains(status))
    }
}

/// Why there is no connection, in words.
#[derive(Debug)]
pub struct Unconnected(pub(super) ConnectError);

impl fmt::Display for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption(pub(super) InterruptionKind);

/// How it was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InterruptionKind {
    Closed,
    Broken(io::ErrorKind),
    TooLong,
    TooManyFragments,
}

impl Interruption {
    /// That another thread has met; it knows the reason.
    pub(super) fn elsewhere() -> Self {
        Self(InterruptionKind::Closed)
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            InterruptionKind::Closed => f.write_str("closed by the server"),
            InterruptionKind::Broken(kind) => kind.fmt(f),
            InterruptionKind::TooLong => f.write_str("the server sends a longer reply than is wanted"),
            InterruptionKind::TooManyFragments => {
                f.write_str("the server sends a reply in too many fragments")
            }
        }
    }
}

impl From<RecordError> for Interruption {
    fn from(error: RecordError) -> Self {
        Self(match error {
            RecordError::Closed(_) => InterruptionKind::Closed,
            RecordError::Lost(error) => InterruptionKind::Broken(error.kind()),
            RecordError::Silent => InterruptionKind::Broken(io::ErrorKind::TimedOut),
            RecordError::TooLong => InterruptionKind::TooLong,
            RecordError::TooManyFragments => InterruptionKind::TooManyFragments,
        })
    }
}
