//! Calls and replies of RPCSEC_GSS (RFC 2203 §5.3): what is signed, and how arguments and results are wrapped.

use zeroize::Zeroizing;

use super::error::RpcError;
use super::xdr::{XdrDecoder, XdrEncoder};
use crate::crypto::wrap::Protection;
use crate::onc_rpc::call::{CALL, FLAVOR_GSS, GSS_VERSION, NULL_PROCEDURE, RPC_VERSION, SERVICE_NONE};
use crate::onc_rpc::reply::AcceptedReply;
use crate::security::{ClientContext, MessageError};
use crate::wire::WireError;

/// Longest token of a signature: a MIC of 40 bytes, and room for other mechanisms.
const MIC_LIMIT: usize = 400;

/// What is protected besides the call's header, which always is (rpc_gss_service_t, RFC 2203 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallProtection {
    /// Nothing: krb5 of NFS.
    #[default]
    Header,
    /// Arguments and results are signed: krb5i of NFS.
    Integrity,
    /// Arguments and results are encrypted and signed: krb5p of NFS.
    Privacy,
}

impl CallProtection {
    fn number(self) -> u32 {
        match self {
            Self::Header => SERVICE_NONE,
            Self::Integrity => 2,
            Self::Privacy => 3,
        }
    }
}

/// What a message does with its context (rpc_gss_proc_t, RFC 2203 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It calls a procedure.
    Data,
    /// It ends the context at the server.
    Destroy,
}

impl Purpose {
    fn number(self) -> u32 {
        match self {
            Self::Data => 0,
            Self::Destroy => 3,
        }
    }
}

/// A call, whatever its transaction and sequence number.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProtectedCall<'a> {
    pub(super) purpose: Purpose,
    pub(super) program: u32,
    pub(super) version: u32,
    pub(super) procedure: u32,
    pub(super) protection: CallProtection,
    pub(super) arguments: &'a [u8],
}

impl ProtectedCall<'_> {
    /// The call that ends the context at the server.
    pub(super) fn destroying(program: u32, version: u32) -> Self {
        let (purpose, procedure) = (Purpose::Destroy, NULL_PROCEDURE);
        Self { purpose, program, version, procedure, protection: CallProtection::Header, arguments: &[] }
    }

    /// The message: header, its signature, and the arguments, protected.
    pub(super) fn encode(
        &self,
        context: &ClientContext,
        xid: u32,
        sequence: u32,
    ) -> Result<XdrEncoder, RpcError> {
        let mut credential = XdrEncoder::new();
        let handle = context.handle().as_bytes();
        credential.u32(GSS_VERSION).u32(self.purpose.number()).u32(sequence);
        credential.u32(self.protection.number()).opaque(handle)?;
        let mut message = XdrEncoder::new();
        message.u32(xid).u32(CALL).u32(RPC_VERSION).u32(self.program).u32(self.version);
        message.u32(self.procedure).u32(FLAVOR_GSS).opaque(credential.as_slice())?;
        // RFC 2203 §5.3.1: from the transaction id to the end of the credential.
        let signature = context.mic().sign(message.as_slice(), context.take_token_number()?);
        message.u32(FLAVOR_GSS).opaque(&signature)?;
        match self.protection {
            CallProtection::Header => message.fixed(self.arguments),
            CallProtection::Integrity => {
                let body = self.numbered(sequence);
                let signature = context.mic().sign(&body, context.take_token_number()?);
                message.opaque(&body)?.opaque(&signature)?
            }
            CallProtection::Privacy => {
                let number = context.take_token_number()?;
                let sealed = context.wrap().seal(&self.numbered(sequence), number);
                message.opaque(&sealed.map_err(MessageError::from)?)?
            }
        };
        Ok(message)
    }

    /// rpc_gss_data_t: the sequence number and the arguments.
    fn numbered(&self, sequence: u32) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new(Vec::with_capacity(4 + self.arguments.len()));
        body.extend_from_slice(&sequence.to_be_bytes());
        body.extend_from_slice(self.arguments);
        body
    }
}

/// What is to be done with a message that answers a call's transaction.
#[derive(Debug)]
pub(super) enum ReplyVerdict {
    /// It is the answer.
    Results(Zeroizing<Vec<u8>>),
    /// It may be anybody's: to be dropped without a word (RFC 2203 §5.3.3.1).
    NotTheServers,
}

/// The results in the reply to the call `xid`, which was sent with these sequence numbers.
pub(super) fn decode(
    message: &[u8],
    context: &ClientContext,
    protection: CallProtection,
    (xid, sequences): (u32, &[u32]),
) -> Result<ReplyVerdict, RpcError> {
    let reply = match AcceptedReply::parse(message, xid) {
        // What makes no sense is nobody's answer. A denial is signed by nobody either, but servers mean it.
        Err(error) if !error.is_refusal() => return Ok(ReplyVerdict::NotTheServers),
        other => other?,
    };
    let signs = |sequence: &&u32| context.mic().verify(&sequence.to_be_bytes(), reply.verifier).is_ok();
    let Some(&sequence) = sequences.iter().rev().find(signs).filter(|_| reply.flavor == FLAVOR_GSS) else {
        return Ok(ReplyVerdict::NotTheServers);
    };
    let results = reply.outcome?;
    Ok(ReplyVerdict::Results(match protection {
        CallProtection::Header => Zeroizing::new(results.to_vec()),
        CallProtection::Integrity => signed(results, context, (sequence, reply.verifier))?,
        CallProtection::Privacy => sealed(results, context, sequence)?,
    }))
}

/// rpc_gss_integ_data (RFC 2203 §5.3.2.2).
fn signed(
    results: &[u8],
    context: &ClientContext,
    (sequence, verifier): (u32, &[u8]),
) -> Result<Zeroizing<Vec<u8>>, RpcError> {
    let mut decoder = XdrDecoder::new(results);
    let (body, signature) = (decoder.opaque(results.len())?, decoder.opaque(MIC_LIMIT)?);
    decoder.finish()?;
    context.mic().verify(body, signature).map_err(|_| RpcError::Unsigned)?;
    // The verifier signs the number alone: without this check it would pass as the signature of no results.
    if signature == verifier {
        return Err(RpcError::Unsigned);
    }
    of_call(body, sequence).map(|results| Zeroizing::new(results.to_vec()))
}

/// rpc_gss_priv_data (RFC 2203 §5.3.2.3).
fn sealed(results: &[u8], context: &ClientContext, sequence: u32) -> Result<Zeroizing<Vec<u8>>, RpcError> {
    let mut decoder = XdrDecoder::new(results);
    let token = decoder.opaque(results.len())?;
    decoder.finish()?;
    let mut opened = context.wrap().unseal(token).map_err(RpcError::Sealed)?;
    if opened.protection != Protection::Confidentiality {
        return Err(RpcError::InTheClear);
    }
    let length = of_call(&opened.message, sequence)?.len();
    let number = opened.message.len() - length;
    opened.message.copy_within(number.., 0);
    opened.message.truncate(length);
    Ok(opened.message)
}

/// What follows the sequence number of the call.
fn of_call(body: &[u8], expected: u32) -> Result<&[u8], RpcError> {
    let (found, rest) = body.split_first_chunk().ok_or(WireError::Truncated)?;
    let found = u32::from_be_bytes(*found);
    if found == expected { Ok(rest) } else { Err(RpcError::OtherNumber { expected, found }) }
}
