//! ONC RPC calls that make a context by RPCSEC_GSS (RFC 5531 §9, RFC 2203 §5).
//!
//! Layout, all `u32 be`: xid · 0 (call) · 2 (RPC version) · program · version · procedure · credential: 6 · opaque
//! {1 · GSS procedure · sequence · service · opaque handle} · verifier: flavor · opaque · arguments.

use crate::onc_rpc::call::{CALL, FLAVOR_GSS, GSS_VERSION, NULL_PROCEDURE, RPC_VERSION, SERVICE_NONE};
use crate::onc_rpc::record::RecordLimits;
use crate::wire::{WireError, Writer};

/// Longest token, in bytes (rule S11).
pub(crate) const RPC_TOKEN_LIMIT: usize = 64 * 1024;
/// What a message that carries a token may have: the token and its RPC headers.
pub(crate) const RPC_MESSAGES: RecordLimits = RecordLimits { bytes: RPC_TOKEN_LIMIT + 2048, fragments: 64 };

/// Flavor AUTH_NONE (RFC 5531 §8.2).
const FLAVOR_NONE: u32 = 0;

/// A program on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its number.
    pub number: u32,
    /// Its version.
    pub version: u32,
}

/// Which token of the exchange a call carries (rpc_gss_proc_t, RFC 2203 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum GssProcedure {
    /// The first token.
    Init = 1,
    /// A later token.
    ContinueInit = 2,
}

/// A call that makes a context, without its arguments, which the caller appends. `handle` is empty in the first call.
///
/// # Errors
/// [`WireError::TooLong`]. A handle of acceptable length excludes it.
pub(crate) fn context_call(
    xid: u32,
    program: Program,
    procedure: GssProcedure,
    handle: &[u8],
) -> Result<Writer, WireError> {
    let mut credential = Writer::new();
    credential
        .u32_be(GSS_VERSION)
        .u32_be(procedure as u32)
        .u32_be(0)
        .u32_be(SERVICE_NONE)
        .opaque_xdr(handle)?;
    let mut call = Writer::new();
    call.u32_be(xid)
        .u32_be(CALL)
        .u32_be(RPC_VERSION)
        .u32_be(program.number)
        .u32_be(program.version)
        .u32_be(NULL_PROCEDURE)
        .u32_be(FLAVOR_GSS)
        .opaque_xdr(credential.as_slice())?;
    call.u32_be(FLAVOR_NONE).opaque_xdr(&[])?;
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_the_documented_bytes() {
        let program = Program { number: 100_003, version: 4 };
        let call = context_call(0xdead_beef, program, GssProcedure::ContinueInit, b"abcde").unwrap();
        let mut words: Vec<u32> = vec![0xdead_beef, 0, 2, 100_003, 4, 0, 6, 28, 1, 2, 0, 1, 5];
        words.extend([u32::from_be_bytes(*b"abcd"), u32::from_be_bytes(*b"e\0\0\0"), 0, 0]);
        let expected: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(call.as_slice(), expected);
    }
}
