//! Calls of ONC RPC with RPCSEC_GSS credentials (RFC 5531 §9, RFC 2203 §5).
//!
//! Layout, all `u32 be`: xid · 0 (call) · 2 (RPC version) · program · version · procedure · credential: 6 · opaque
//! {1 · GSS procedure · sequence · service · opaque handle} · verifier: flavor · opaque · arguments.

use crate::wire::{WireError, Writer};

/// Credential flavor RPCSEC_GSS (RFC 2203 §4).
pub const FLAVOR_GSS: u32 = 6;
/// Flavor AUTH_NONE (RFC 5531 §8.2).
pub const FLAVOR_NONE: u32 = 0;
/// Procedure 0, which every program has and which does nothing.
pub const NULL_PROCEDURE: u32 = 0;

const CALL: u32 = 0;
const RPC_VERSION: u32 = 2;
const GSS_VERSION: u32 = 1;

/// A program on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its number.
    pub number: u32,
    /// Its version.
    pub version: u32,
}

/// What a call does with its context (rpc_gss_proc_t, RFC 2203 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum GssProcedure {
    /// An ordinary call under an established context.
    Data = 0,
    /// The first token.
    Init = 1,
    /// A later token.
    ContinueInit = 2,
    /// The context is no longer needed.
    Destroy = 3,
}

/// How arguments and results are protected (rpc_gss_service_t, RFC 2203 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Protection {
    /// Not at all; the header is signed in any case.
    None = 1,
    /// Signed.
    Integrity = 2,
    /// Encrypted.
    Privacy = 3,
}

/// The RPCSEC_GSS credential of one call.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'a> {
    /// What the call does.
    pub procedure: GssProcedure,
    /// Its place in the sequence window; 0 while the context is made.
    pub sequence: u32,
    /// Protection of arguments and results.
    pub protection: Protection,
    /// The server's handle; empty in the first call.
    pub handle: &'a [u8],
}

/// A call up to the end of its credential: what the verifier signs (RFC 2203 §5.3.1).
#[derive(Debug)]
pub struct CallHeader(Writer);

impl CallHeader {
    /// Encodes it.
    ///
    /// # Errors
    /// [`WireError::TooLong`], which a handle of acceptable length excludes.
    pub fn new(
        xid: u32,
        program: Program,
        procedure: u32,
        credential: &Credential<'_>,
    ) -> Result<Self, WireError> {
        let mut body = Writer::new();
        body.u32_be(GSS_VERSION)
            .u32_be(credential.procedure as u32)
            .u32_be(credential.sequence)
            .u32_be(credential.protection as u32)
            .opaque_xdr(credential.handle)?;
        let mut header = Writer::new();
        header
            .u32_be(xid)
            .u32_be(CALL)
            .u32_be(RPC_VERSION)
            .u32_be(program.number)
            .u32_be(program.version)
            .u32_be(procedure)
            .u32_be(FLAVOR_GSS)
            .opaque_xdr(body.as_slice())?;
        Ok(Self(header))
    }

    /// What the verifier's message integrity code is made of.
    pub fn signed(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The call with that code as its verifier. Arguments are appended to what this returns.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    pub fn with_verifier(mut self, mic: &[u8]) -> Result<Writer, WireError> {
        self.0.u32_be(FLAVOR_GSS).opaque_xdr(mic)?;
        Ok(self.0)
    }

    /// The call with no verifier, as while the context is made. Arguments are appended to what this returns.
    ///
    /// # Errors
    /// [`WireError::TooLong`], never.
    pub fn without_verifier(mut self) -> Result<Writer, WireError> {
        self.0.u32_be(FLAVOR_NONE).opaque_xdr(&[])?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_call_has_the_documented_bytes() {
        let credential = Credential {
            procedure: GssProcedure::Data,
            sequence: 7,
            protection: Protection::None,
            handle: b"abcde",
        };
        let program = Program { number: 100_003, version: 4 };
        let header = CallHeader::new(0xdead_beef, program, NULL_PROCEDURE, &credential).unwrap();
        let mut words: Vec<u32> = vec![0xdead_beef, 0, 2, 100_003, 4, 0, 6, 28, 1, 0, 7, 1, 5];
        words.extend([u32::from_be_bytes(*b"abcd"), u32::from_be_bytes(*b"e\0\0\0")]);
        let expected: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(header.signed(), expected);
        let call = header.with_verifier(b"micm").unwrap();
        assert_eq!(&call.as_slice()[expected.len()..], b"\0\0\0\x06\0\0\0\x04micm");
    }
}
