//! ONC RPC (RFC 5531) with RPCSEC_GSS (RFC 2203), as far as tests need it: records, calls with a context, replies to
//! context creation taken apart and rebuilt.

use super::server::Target;
use lgss::crypto::mic::{MicKeys, Role};
use lgss::ctx::Context;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const LAST_FRAGMENT: u32 = 0x8000_0000;
const REPLY: u32 = 1;
pub(crate) const RPCSEC_GSS: u32 = 6;

/// Reads one record, of any number of fragments (RFC 5531 §11).
pub(crate) fn read_record(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut record = Vec::new();
    loop {
        let mut mark = [0; 4];
        stream.read_exact(&mut mark)?;
        let mark = u32::from_be_bytes(mark);
        let mut fragment = vec![0; (mark & !LAST_FRAGMENT) as usize];
        stream.read_exact(&mut fragment)?;
        record.extend(fragment);
        if mark & LAST_FRAGMENT != 0 {
            return Ok(record);
        }
    }
}

/// Writes one record as one fragment.
pub(crate) fn write_record(stream: &mut TcpStream, record: &[u8]) -> io::Result<()> {
    stream.write_all(&[&mark(record.len(), LAST_FRAGMENT)[..], record].concat())
}

/// Encodes one record in fragments of `size` bytes.
pub(crate) fn fragments(record: &[u8], size: usize) -> Vec<u8> {
    let last = record.len().div_ceil(size) - 1;
    let chunks = record.chunks(size).enumerate();
    chunks
        .flat_map(|(i, chunk)| {
            [&mark(chunk.len(), if i == last { LAST_FRAGMENT } else { 0 })[..], chunk].concat()
        })
        .collect()
}

fn mark(length: usize, flag: u32) -> [u8; 4] {
    (u32::try_from(length).unwrap() | flag).to_be_bytes()
}

/// XDR under construction (RFC 4506).
#[derive(Debug, Default, Clone)]
pub(crate) struct Xdr(pub(crate) Vec<u8>);

impl Xdr {
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn opaque(self, bytes: &[u8]) -> Self {
        let mut with_length = self.u32(u32::try_from(bytes.len()).unwrap());
        with_length.0.extend(bytes);
        with_length.0.resize(with_length.0.len().next_multiple_of(4), 0);
        with_length
    }
}

/// XDR being read.
pub(crate) struct XdrReader<'a>(pub(crate) &'a [u8]);

impl<'a> XdrReader<'a> {
    pub(crate) fn u32(&mut self) -> u32 {
        let (value, rest) = self.0.split_first_chunk().expect("XDR ended early");
        self.0 = rest;
        u32::from_be_bytes(*value)
    }

    pub(crate) fn opaque(&mut self) -> &'a [u8] {
        let length = self.u32() as usize;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = &rest[length.next_multiple_of(4) - length..];
        bytes
    }
}

/// The transaction id of a call or reply.
pub(crate) fn xid(message: &[u8]) -> u32 {
    XdrReader(message).u32()
}

/// An accepted reply to RPCSEC_GSS_INIT (RFC 2203 §5.2.3.1).
#[derive(Debug, Clone)]
pub(crate) struct InitReply {
    pub(crate) xid: u32,
    pub(crate) verifier_flavor: u32,
    pub(crate) verifier: Vec<u8>,
    pub(crate) accept_status: u32,
    pub(crate) handle: Vec<u8>,
    pub(crate) gss_major: u32,
    pub(crate) gss_minor: u32,
    pub(crate) window: u32,
    pub(crate) token: Vec<u8>,
}

impl InitReply {
    /// "Continue", with an arbitrary token.
    pub(crate) fn continuing(call: &[u8], token: &[u8]) -> Self {
        Self {
            xid: xid(call),
            verifier_flavor: 0,
            verifier: Vec::new(),
            accept_status: 0,
            handle: vec![1, 2, 3, 4],
            gss_major: 1,
            gss_minor: 0,
            window: 0,
            token: token.to_vec(),
        }
    }

    pub(crate) fn parse(reply: &[u8]) -> Self {
        let mut xdr = XdrReader(reply);
        let xid = xdr.u32();
        assert_eq!((xdr.u32(), xdr.u32()), (REPLY, 0), "not an accepted reply");
        Self {
            xid,
            verifier_flavor: xdr.u32(),
            verifier: xdr.opaque().to_vec(),
            accept_status: xdr.u32(),
            handle: xdr.opaque().to_vec(),
            gss_major: xdr.u32(),
            gss_minor: xdr.u32(),
            window: xdr.u32(),
            token: xdr.opaque().to_vec(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let head =
            Xdr::default().u32(self.xid).u32(REPLY).u32(0).u32(self.verifier_flavor).opaque(&self.verifier);
        let result =
            head.u32(self.accept_status).opaque(&self.handle).u32(self.gss_major).u32(self.gss_minor);
        result.u32(self.window).opaque(&self.token).0
    }
}

/// A reply that rejects the call's credentials (RFC 5531 §9: AUTH_ERROR), e.g. with RPCSEC_GSS_CREDPROBLEM, 13.
pub(crate) fn denied(call: &[u8], auth_stat: u32) -> Vec<u8> {
    Xdr::default().u32(xid(call)).u32(REPLY).u32(1).u32(1).u32(auth_stat).0
}

/// Calls the NULL procedure with a context and checks the verifier of the reply: proof that client and server share it.
///
/// # Panics
/// If the server does not accept the call or its verifier is not the MIC of our sequence number (RFC 2203 §5.3.3.2).
#[track_caller]
pub(crate) fn call_null_with(context: &Context, target: &Target) {
    let (enctype, key) = (context.base_key.enctype(), context.base_key.secret());
    let keys = MicKeys::new(enctype, key, context.key_origin, Role::Initiator).unwrap();
    let (xid, sequence) = (0x1357_9bdf, 1);
    let credential = Xdr::default().u32(1).u32(0).u32(sequence).u32(1).opaque(context.handle.as_bytes()).0;
    let header = Xdr::default().u32(xid).u32(0).u32(2).u32(target.program).u32(target.version).u32(0);
    let header = header.u32(RPCSEC_GSS).opaque(&credential);
    let verifier = keys.sign(&header.0, context.send_sequence);
    let call = header.u32(RPCSEC_GSS).opaque(&verifier).0;

    let mut stream = TcpStream::connect(target.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write_record(&mut stream, &call).unwrap();
    let reply = read_record(&mut stream).expect("the server drops the call, so it does not accept its MIC");
    let mut xdr = XdrReader(&reply);
    assert_eq!((xdr.u32(), xdr.u32(), xdr.u32()), (xid, REPLY, 0), "the call is not accepted");
    assert_eq!(xdr.u32(), RPCSEC_GSS, "flavor of the verifier");
    keys.verify(&sequence.to_be_bytes(), xdr.opaque()).expect("verifier of the reply");
    assert_eq!(xdr.u32(), 0, "the call was not successful");
}
