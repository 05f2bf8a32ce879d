//! Checks for the fuzz targets (docs/fuzzing.md): answers of servers, and the messages between monitor and worker.

use std::io::Cursor;

use super::channel::answer::{Answer, WindowProof};
use super::channel::lustre::{self, LUSTRE_TOKEN_LIMIT};
use super::channel::rpc::call::{Program, RPC_MESSAGES, RPC_TOKEN_LIMIT};
use super::channel::rpc::context;
use super::mech;
use crate::ctx::HANDLE_LIMIT;
use crate::onc_rpc::call::FLAVOR_GSS;
use crate::onc_rpc::record;
use crate::onc_rpc::reply::AcceptedReply;
use crate::secret::Secret;
use crate::wire::{WireError, Writer};

pub use super::messages::fuzz::{from_monitor, from_worker};
pub use mech::sk::fuzz::{netstrings, responder_token};

const XID: u32 = 0x6b73_7a01;

/// A record of RPC over TCP, in fragments.
pub fn rpc_record(data: &[u8]) {
    let mut stream = Cursor::new(data);
    let Ok(message) = record::read(&mut stream, RPC_MESSAGES) else { return };
    assert!(message.len() <= data.len());
    let mut written = Vec::new();
    assert!(record::write(&mut written, &message).is_ok());
    assert_eq!(record::read(&mut Cursor::new(written), RPC_MESSAGES).ok(), Some(message));
}

/// A reply to a call for a context; its xid is the right one, which the peer knows.
pub fn rpc_reply(data: &[u8]) {
    let message = [&XID.to_be_bytes(), data].concat();
    if let Err(error) = AcceptedReply::parse(&message, XID).and_then(|reply| reply.outcome) {
        assert!(!error.to_string().contains(char::is_control));
    }
    assert!(AcceptedReply::parse(&message, XID ^ 1).is_err());
    let Ok(answer) = context::decode(&message, XID) else { return };
    assert!(answer.handle.expose().len() <= HANDLE_LIMIT && answer.token.len() <= RPC_TOKEN_LIMIT);
    let again = reply_with(&answer).ok().and_then(|reply| context::decode(reply.as_slice(), XID).ok());
    assert!(again.is_some_and(|again| is_same(&again, &answer)));
}

/// What a server sends with this answer.
fn reply_with(answer: &Answer) -> Result<Writer, WireError> {
    let (flavor, verifier): (_, &[u8]) = match &answer.window_proof {
        WindowProof::Mic(mic) => (FLAVOR_GSS, mic),
        WindowProof::Missing | WindowProof::TheKernels => (0, &[]),
    };
    let mut reply = Writer::new();
    reply.u32_be(XID).u32_be(1).u32_be(0).u32_be(flavor).opaque_xdr(verifier)?.u32_be(0);
    reply
        .opaque_xdr(answer.handle.expose())?
        .u32_be(answer.gss_major)
        .u32_be(answer.gss_minor)
        .u32_be(answer.window);
    reply.opaque_xdr(answer.token.expose())?;
    Ok(reply)
}

fn is_same(one: &Answer, other: &Answer) -> bool {
    let numbers = |answer: &Answer| (answer.gss_major, answer.gss_minor, answer.window);
    (numbers(one), &one.handle, &one.window_proof) == (numbers(other), &other.handle, &other.window_proof)
        && one.token.expose() == other.token.expose()
}

/// A call for a context ends with the token as it is.
pub fn rpc_call(data: &[u8]) {
    let program = Program { number: 100_003, version: 4 };
    let call = context::encode(XID, program, None, &Secret::new(data.to_vec()));
    let padded = [data, &vec![0; data.len().wrapping_neg() % 4]].concat();
    assert_eq!(call.is_ok_and(|call| call.as_slice().ends_with(&padded)), data.len() <= RPC_TOKEN_LIMIT);
}

/// The reply of Lustre's `init_channel`.
pub fn init_channel(data: &[u8]) {
    let answer = match lustre::decode(data) {
        Ok(answer) => answer,
        Err(error) => return assert!(!error.to_string().contains(char::is_control)),
    };
    assert!(answer.handle.expose().len() <= HANDLE_LIMIT && answer.token.len() <= LUSTRE_TOKEN_LIMIT);
    let mut reply = Writer::new();
    reply.u32_host(0).u32_host(answer.gss_major).u32_host(answer.gss_minor).u32_host(answer.window);
    for part in [answer.handle.expose().as_slice(), answer.token.expose()] {
        let padding = vec![0; part.len().wrapping_neg() % 4];
        assert!(reply.opaque_host(part).map(|reply| reply.bytes(&padding).len()).is_ok());
    }
    assert!(lustre::decode(reply.as_slice()).is_ok_and(|again| is_same(&again, &answer)));
}
