//! Replies of ONC RPC (RFC 5531 §9), with each way of refusing a call as its own error.
//!
//! Used for the answers to tokens and by client programs. Invariant: a [`Reply`] answers the call with the xid given.

use std::fmt;

use crate::wire::{Reader, WireError};

/// Longest verifier body (RFC 5531 §8.2).
const VERIFIER_LIMIT: usize = 400;

/// A reply to a call that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    /// Flavor of the verifier.
    pub flavor: u32,
    /// Body of the verifier; with RPCSEC_GSS a message integrity code.
    pub verifier: &'a [u8],
    /// The results, to the end of the message.
    pub results: &'a [u8],
}

/// Why a reply does not answer a call that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It does not follow the layout.
    #[error("malformed reply: {0}")]
    Layout(#[from] WireError),
    /// It answers another call.
    #[error("reply to another call: xid {found:#x}, not {expected:#x}")]
    OtherCall {
        /// Of our call.
        expected: u32,
        /// Of the reply.
        found: u32,
    },
    /// It is a call, or neither.
    #[error("message of type {0} instead of a reply")]
    NotAReply(u32),
    /// A number that the protocol does not have here.
    #[error("reply with the unknown {0} {1}")]
    Unknown(&'static str, u32),
    /// The server speaks other versions of RPC.
    #[error("server wants RPC version {0} to {1}")]
    RpcVersion(u32, u32),
    /// The server rejects credential or verifier.
    #[error("server rejects the credential: {0}")]
    Rejected(AuthStatus),
    /// The server lacks the program.
    #[error("server does not have the program")]
    ProgramUnavailable,
    /// The server has the program in other versions only.
    #[error("server has the program in {} only", versions(*.0, *.1))]
    ProgramVersion(u32, u32),
    /// The program lacks the procedure.
    #[error("server does not have the procedure")]
    ProcedureUnavailable,
    /// The server could not decode the arguments.
    #[error("server cannot decode the arguments")]
    GarbageArguments,
    /// The server failed.
    #[error("server reports a system error")]
    SystemError,
}

impl ReplyError {
    /// Whether the server understood the call and refuses it, rather than answering nonsense.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Layout(_) | Self::OtherCall { .. } | Self::NotAReply(_) | Self::Unknown(..))
    }
}

impl ReplyError {
    /// Whether the server lacks what the call names, so that it has not looked at a credential.
    pub fn is_about_the_program(&self) -> bool {
        matches!(
            self,
            Self::RpcVersion(..)
                | Self::ProgramUnavailable
                | Self::ProgramVersion(..)
                | Self::ProcedureUnavailable
                | Self::GarbageArguments
        )
    }
}

fn versions(low: u32, high: u32) -> String {
    if low == high { format!("version {low}") } else { format!("versions {low} to {high}") }
}

/// auth_stat (RFC 5531 §9, RFC 2203 §5.3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthStatus(pub u32);

impl AuthStatus {
    /// AUTH_REJECTEDCRED: "the client must begin a new session".
    pub const REJECTED_CREDENTIAL: Self = Self(2);
}

impl fmt::Display for AuthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "AUTH_BADCRED",
            2 => "AUTH_REJECTEDCRED",
            3 => "AUTH_BADVERF",
            4 => "AUTH_REJECTEDVERF",
            5 => "AUTH_TOOWEAK",
            6 => "AUTH_INVALIDRESP",
            7 => "AUTH_FAILED",
            13 => "RPCSEC_GSS_CREDPROBLEM",
            14 => "RPCSEC_GSS_CTXPROBLEM",
            other => return write!(f, "auth_stat {other}"),
        };
        f.write_str(name)
    }
}

impl<'a> Reply<'a> {
    /// Reads the reply to the call `xid`.
    ///
    /// # Errors
    /// [`ReplyError`].
    pub(crate) fn parse(message: &'a [u8], xid: u32) -> Result<Self, ReplyError> {
        let mut reader = Reader::new(message);
        let found = reader.u32_be()?;
        if found != xid {
            return Err(ReplyError::OtherCall { expected: xid, found });
        }
        match reader.u32_be()? {
            1 => {}
            other => return Err(ReplyError::NotAReply(other)),
        }
        match reader.u32_be()? {
            0 => Self::accepted(reader),
            1 => Err(denied(reader)?),
            other => Err(ReplyError::Unknown("reply_stat", other)),
        }
    }

    fn accepted(mut reader: Reader<'a>) -> Result<Self, ReplyError> {
        let (flavor, verifier) = (reader.u32_be()?, reader.opaque_xdr(VERIFIER_LIMIT)?);
        Err(match reader.u32_be()? {
            0 => return Ok(Self { flavor, verifier, results: reader.rest() }),
            1 => ReplyError::ProgramUnavailable,
            2 => ReplyError::ProgramVersion(reader.u32_be()?, reader.u32_be()?),
            3 => ReplyError::ProcedureUnavailable,
            4 => ReplyError::GarbageArguments,
            5 => ReplyError::SystemError,
            other => ReplyError::Unknown("accept_stat", other),
        })
    }
}

fn denied(mut reader: Reader<'_>) -> Result<ReplyError, WireError> {
    Ok(match reader.u32_be()? {
        0 => ReplyError::RpcVersion(reader.u32_be()?, reader.u32_be()?),
        1 => ReplyError::Rejected(AuthStatus(reader.u32_be()?)),
        other => ReplyError::Unknown("reject_stat", other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn an_accepted_reply_has_verifier_and_results() {
        let message = words(&[9, 1, 0, 6, 4, 0x6162_6364, 0, 77]);
        let reply = Reply::parse(&message, 9).unwrap();
        assert_eq!((reply.flavor, reply.verifier, reply.results), (6, &b"abcd"[..], &words(&[77])[..]));
    }

    #[test]
    fn each_way_of_refusing_a_call_has_its_error() {
        for (message, error) in [
            (words(&[8, 1, 0]), ReplyError::OtherCall { expected: 9, found: 8 }),
            (words(&[9, 0, 2]), ReplyError::NotAReply(0)),
            (words(&[9, 1, 2]), ReplyError::Unknown("reply_stat", 2)),
            (words(&[9, 1, 1, 0, 2, 3]), ReplyError::RpcVersion(2, 3)),
            (words(&[9, 1, 1, 1, 13]), ReplyError::Rejected(AuthStatus(13))),
            (words(&[9, 1, 1, 7]), ReplyError::Unknown("reject_stat", 7)),
            (words(&[9, 1, 0, 0, 0, 1]), ReplyError::ProgramUnavailable),
            (words(&[9, 1, 0, 0, 0, 2, 3, 4]), ReplyError::ProgramVersion(3, 4)),
            (words(&[9, 1, 0, 0, 0, 3]), ReplyError::ProcedureUnavailable),
            (words(&[9, 1, 0, 0, 0, 4]), ReplyError::GarbageArguments),
            (words(&[9, 1, 0, 0, 0, 5]), ReplyError::SystemError),
            (words(&[9, 1, 0, 0, 0, 6]), ReplyError::Unknown("accept_stat", 6)),
            (words(&[9, 1, 0, 0, 401]), WireError::TooLong(401, 400).into()),
            (words(&[9, 1]), WireError::Truncated.into()),
        ] {
            assert_eq!(Reply::parse(&message, 9), Err(error));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused_without_a_panic(tail: Vec<u8>) {
            let _ = Reply::parse(&tail, 0);
            let _ = Reply::parse(&[&words(&[9, 1, 0])[..], &tail].concat(), 9);
        }
    }
}
