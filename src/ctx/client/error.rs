//! Why a request, a search or a wait has given no context.

use crate::ctx::no_context::NoContext;
use crate::ctx::os_error::OsError;
use crate::ctx::payload::user::PayloadError;
use crate::ctx::request::RequestError;
use crate::ctx::rings::Doubt;
use crate::event::NO_UPCALL;

/// Why there is no context, or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The upcall would not understand the request: a value holds a separator, or the whole is too long.
    #[error("the request cannot be encoded: {0}")]
    Text(#[from] RequestError),
    /// The session keyring has ended with its login: EKEYREVOKED or EKEYEXPIRED.
    #[error("the session keyring has ended: {0}")]
    Session(OsError),
    /// No upcall is installed for the request, or it did not answer; the kernel remembers that for a minute.
    #[error("{}; {}", NO_UPCALL.cause, NO_UPCALL.remedy)]
    NoUpcall,
    /// The request was refused before there was a key.
    #[error("request_key: {0}")]
    Request(OsError),
    /// The key cannot be read. EACCES: the caller does not possess it; EKEYEXPIRED, EKEYREVOKED: it has ended.
    #[error("reading the key: {0}")]
    Read(OsError),
    /// The key is not the caller's, and is not read (rule S20).
    #[error("the key is not trusted: {0}")]
    NotOwn(Doubt),
    /// The key holds something else than a context.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Why a wait ended without a context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotEstablished {
    /// The negotiation failed.
    #[error(transparent)]
    Failed(#[from] NoContext),
    /// The time is up. The negotiation goes on, and the key can be waited for again.
    #[error("no context yet: the negotiation goes on")]
    InProgress,
    /// There is no key, or it cannot be read.
    #[error(transparent)]
    Client(#[from] ClientError),
}
