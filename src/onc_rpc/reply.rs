//! Replies of ONC RPC (RFC 5531 §9), with one error for each way of refusing a call.
//!
//! Used for answers to tokens and by client programs. Invariant: an [`AcceptedReply`] answers the call with the given xid.

use std::fmt;

use crate::wire::{Reader, WireError};

/// Longest verifier body (RFC 5531 §8.2).
const VERIFIER_LIMIT: usize = 400;

/// Why a reply is not that of a call that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RpcReplyError {
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
    /// It is not a reply.
    #[error("message of type {0} instead of a reply")]
    NotAReply(u32),
    /// A number that the protocol does not define here.
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
    /// The server has only other versions of the program.
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

impl RpcReplyError {
    /// Whether the server understood the call and refuses it. Otherwise its answer makes no sense.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Layout(_) | Self::OtherCall { .. } | Self::NotAReply(_) | Self::Unknown(..))
    }
}

impl RpcReplyError {
    /// Whether the server lacks what the call names, and so has not looked at the credential.
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
    /// RPCSEC_GSS_CREDPROBLEM: the server does not know the context (RFC 2203 §5.3.3.3).
    pub const CREDENTIAL_PROBLEM: Self = Self(13);
    /// RPCSEC_GSS_CTXPROBLEM: the context cannot be used any more.
    pub const CONTEXT_PROBLEM: Self = Self(14);
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

/// A reply to a call whose credential the server has accepted. Its verifier is to be checked before its outcome is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptedReply<'a> {
    /// Flavor of the verifier.
    pub(crate) flavor: u32,
    /// Body of the verifier.
    pub(crate) verifier: &'a [u8],
    /// The results, to the end of the message, or why there are none.
    pub(crate) outcome: Result<&'a [u8], RpcReplyError>,
}

impl<'a> AcceptedReply<'a> {
    /// Reads the reply to the call `xid`.
    ///
    /// # Errors
    /// [`RpcReplyError`]; a denial among them is signed by nobody.
    pub(crate) fn parse(message: &'a [u8], xid: u32) -> Result<Self, RpcReplyError> {
        let mut reader = Reader::new(message);
        let found = reader.u32_be()?;
        if found != xid {
            return Err(RpcReplyError::OtherCall { expected: xid, found });
        }
        match reader.u32_be()? {
            1 => {}
            other => return Err(RpcReplyError::NotAReply(other)),
        }
        match reader.u32_be()? {
            0 => Self::accepted(reader),
            1 => Err(denied(reader)?),
            other => Err(RpcReplyError::Unknown("reply_stat", other)),
        }
    }

    fn accepted(mut reader: Reader<'a>) -> Result<Self, RpcReplyError> {
        let (flavor, verifier) = (reader.u32_be()?, reader.opaque_xdr(VERIFIER_LIMIT)?);
        let outcome = match reader.u32_be()? {
            0 => Ok(reader.rest()),
            1 => Err(RpcReplyError::ProgramUnavailable),
            2 => Err(RpcReplyError::ProgramVersion(reader.u32_be()?, reader.u32_be()?)),
            3 => Err(RpcReplyError::ProcedureUnavailable),
            4 => Err(RpcReplyError::GarbageArguments),
            5 => Err(RpcReplyError::SystemError),
            other => Err(RpcReplyError::Unknown("accept_stat", other)),
        };
        Ok(Self { flavor, verifier, outcome })
    }
}

fn denied(mut reader: Reader<'_>) -> Result<RpcReplyError, WireError> {
    Ok(match reader.u32_be()? {
        0 => RpcReplyError::RpcVersion(reader.u32_be()?, reader.u32_be()?),
        1 => RpcReplyError::Rejected(AuthStatus(reader.u32_be()?)),
        other => RpcReplyError::Unknown("reject_stat", other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(message: &[u8], xid: u32) -> Result<&[u8], RpcReplyError> {
        AcceptedReply::parse(message, xid)?.outcome
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn an_accepted_reply_has_verifier_and_results() {
        let message = words(&[9, 1, 0, 6, 4, 0x6162_6364, 0, 77]);
        let reply = AcceptedReply::parse(&message, 9).unwrap();
        assert_eq!((reply.flavor, reply.verifier), (6, &b"abcd"[..]));
        assert_eq!(reply.outcome, Ok(&words(&[77])[..]));
    }

    #[test]
    fn each_way_of_refusing_a_call_has_its_error() {
        for (message, error) in [
            (words(&[8, 1, 0]), RpcReplyError::OtherCall { expected: 9, found: 8 }),
            (words(&[9, 0, 2]), RpcReplyError::NotAReply(0)),
            (words(&[9, 1, 2]), RpcReplyError::Unknown("reply_stat", 2)),
            (words(&[9, 1, 1, 0, 2, 3]), RpcReplyError::RpcVersion(2, 3)),
            (words(&[9, 1, 1, 1, 13]), RpcReplyError::Rejected(AuthStatus(13))),
            (words(&[9, 1, 1, 7]), RpcReplyError::Unknown("reject_stat", 7)),
            (words(&[9, 1, 0, 0, 0, 1]), RpcReplyError::ProgramUnavailable),
            (words(&[9, 1, 0, 0, 0, 2, 3, 4]), RpcReplyError::ProgramVersion(3, 4)),
            (words(&[9, 1, 0, 0, 0, 3]), RpcReplyError::ProcedureUnavailable),
            (words(&[9, 1, 0, 0, 0, 4]), RpcReplyError::GarbageArguments),
            (words(&[9, 1, 0, 0, 0, 5]), RpcReplyError::SystemError),
            (words(&[9, 1, 0, 0, 0, 6]), RpcReplyError::Unknown("accept_stat", 6)),
            (words(&[9, 1, 0, 0, 401]), WireError::TooLong(401, 400).into()),
            (words(&[9, 1]), WireError::Truncated.into()),
        ] {
            assert_eq!(parse(&message, 9), Err(error));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused_without_a_panic(tail: Vec<u8>) {
            let _ = parse(&tail, 0);
            let _ = parse(&[&words(&[9, 1, 0])[..], &tail].concat(), 9);
        }
    }
}
