//! Tokens of a new context: arguments and results of RPCSEC_GSS_INIT and CONTINUE_INIT (RFC 2203 §5.2).
//!
//! The argument is `opaque token`. The results are `opaque handle · u32 gss_major · u32 gss_minor · u32 seq_window ·
//! opaque token`. The verifier of a complete answer is the MIC of seq_window.

use super::super::{Answer, WindowProof};
use super::call::{GssProcedure, Program, RPC_TOKEN_LIMIT, context_call};
use crate::class::Private;
use crate::ctx::{HANDLE_LIMIT, Handle};
use crate::onc_rpc::call::FLAVOR_GSS;
use crate::onc_rpc::reply::{AcceptedReply, RpcReplyError};
use crate::secret::Secret;
use crate::wire::{Reader, WireError, Writer};

/// Encodes the call that carries a token.
///
/// # Errors
/// [`WireError::TooLong`] for a token over [`RPC_TOKEN_LIMIT`].
pub(crate) fn encode(
    xid: u32,
    program: Program,
    handle: Option<&Handle>,
    token: &Secret,
) -> Result<Writer, WireError> {
    if token.len() > RPC_TOKEN_LIMIT {
        return Err(WireError::TooLong(token.len(), RPC_TOKEN_LIMIT));
    }
    let procedure = if handle.is_some() { GssProcedure::ContinueInit } else { GssProcedure::Init };
    let handle = handle.map(Handle::as_bytes).unwrap_or_default();
    // During context creation, sequence and protection are ignored (RFC 2203 §5.2.2).
    let mut call = context_call(xid, program, procedure, handle)?;
    call.opaque_xdr(token.expose())?;
    Ok(call)
}

/// Decodes the reply to the call `xid`.
///
/// # Errors
/// [`RpcReplyError`], also for lengths over a limit and for bytes after the end.
pub(crate) fn decode(message: &[u8], xid: u32) -> Result<Answer, RpcReplyError> {
    let reply = AcceptedReply::parse(message, xid)?;
    let mut results = Reader::new(reply.outcome?);
    let handle = Private::new(results.opaque_xdr(HANDLE_LIMIT)?.to_vec());
    let (gss_major, gss_minor, window) = (results.u32_be()?, results.u32_be()?, results.u32_be()?);
    let token = Secret::new(results.opaque_xdr(RPC_TOKEN_LIMIT)?.to_vec());
    results.finish()?;
    let window_proof = match reply.flavor {
        FLAVOR_GSS => WindowProof::Mic(reply.verifier.to_vec()),
        _ => WindowProof::Missing,
    };
    Ok(Answer { handle, gss_major, gss_minor, window, token, window_proof })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(handle: &[u8], token: &[u8]) -> Vec<u8> {
        let mut message = Writer::new();
        for word in [9, 1, 0, 6] {
            message.u32_be(word);
        }
        message.opaque_xdr(b"mic").unwrap().u32_be(0).opaque_xdr(handle).unwrap();
        message.u32_be(0).u32_be(5).u32_be(32).opaque_xdr(token).unwrap();
        message.as_slice().to_vec()
    }

    #[test]
    fn an_answer_has_all_its_fields() {
        let answer = decode(&reply(b"handle", b"token"), 9).unwrap();
        assert_eq!((&answer.handle.expose()[..], answer.token.expose()), (&b"handle"[..], &b"token"[..]));
        assert_eq!((answer.gss_major, answer.gss_minor, answer.window), (0, 5, 32));
        assert_eq!(answer.window_proof, WindowProof::Mic(b"mic".to_vec()));
    }

    #[test]
    fn handles_over_the_limit_and_bytes_after_the_end_are_refused() {
        let long = reply(&[7; HANDLE_LIMIT + 1], b"");
        let expected = RpcReplyError::Layout(WireError::TooLong(HANDLE_LIMIT + 1, HANDLE_LIMIT));
        assert_eq!(decode(&long, 9).unwrap_err(), expected);
        let trailing = [&reply(b"h", b"t")[..], &[0; 4]].concat();
        assert_eq!(decode(&trailing, 9).unwrap_err(), RpcReplyError::Layout(WireError::Trailing(4)));
    }

    #[test]
    fn the_first_token_goes_without_and_later_ones_with_the_handle() {
        let program = Program { number: 1, version: 1 };
        let handle = Handle::new(b"hhhh").unwrap();
        let first = encode(1, program, None, &Secret::new(vec![1])).unwrap();
        let later = encode(1, program, Some(&handle), &Secret::new(vec![1])).unwrap();
        assert_eq!((first.as_slice()[39], later.as_slice()[39]), (1, 2), "GSS procedure");
        assert_eq!(later.len() - first.len(), 4);
        let oversized = Secret::new(vec![0; RPC_TOKEN_LIMIT + 1]);
        assert!(encode(1, program, None, &oversized).is_err());
    }

    proptest! {
        #[test]
        fn an_answer_cut_anywhere_is_refused(cut in 0usize..60) {
            let whole = reply(b"handle", b"token");
            prop_assert!(decode(&whole[..cut.min(whole.len() - 1)], 9).is_err());
        }

        #[test]
        fn any_results_are_decoded_or_refused_without_a_panic(tail: Vec<u8>) {
            let _ = decode(&[&reply(b"h", b"t")[..28], &tail].concat(), 9);
        }
    }
}
