//! Checks for the fuzz targets (docs/fuzzing.md): replies to calls that a context protects.

use super::body::{CallProtection, ReplyVerdict, decode};
use super::xdr::XdrEncoder;
use crate::crypto::enctype::Enctype;
use crate::crypto::mic::KeyOrigin;
use crate::ctx::{BaseKey, Context, ContextRequest, Handle, RpcChannel, SeqWindow};
use crate::secret::Secret;
use crate::security::{ClientContext, Security};

const KEY: [u8; 16] = *b"throw-away key 2";
const XID: u32 = 0x6b73_7a02;
const SEQUENCE: u32 = 5;
const PROTECTIONS: [CallProtection; 3] =
    [CallProtection::Header, CallProtection::Integrity, CallProtection::Privacy];

/// `protection · signed · rest`: nothing but what the other end has signed gives results. With an odd `signed` the verifier is right,
/// so that the results are read.
pub fn replies(data: &[u8]) {
    let Some((&[which, signed], rest)) = data.split_first_chunk() else { return };
    let Some(&protection) = PROTECTIONS.get(usize::from(which % 3)) else { return };
    let Some([ours, server]) = ends() else { return };
    let read = |message: &[u8]| decode(message, &ours, protection, (XID, &[SEQUENCE]));
    if signed % 2 == 0 {
        let verdict = read(&[&XID.to_be_bytes()[..], rest].concat());
        assert!(!matches!(verdict, Ok(ReplyVerdict::Results(_))), "results that nobody has signed");
        return;
    }
    let mut message = XdrEncoder::new();
    let verifier = server.mic().sign(&SEQUENCE.to_be_bytes(), 1);
    if message.u32(XID).u32(1).u32(0).u32(6).opaque(&verifier).is_err() {
        return;
    }
    match read(&[message.as_slice(), rest].concat()) {
        Ok(ReplyVerdict::Results(results)) => {
            assert!(protection == CallProtection::Header && rest == [&[0; 4], &results[..]].concat());
        }
        Ok(ReplyVerdict::NotTheServers) => {}
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
}

/// The client's end and the server's.
fn ends() -> Option<[ClientContext; 2]> {
    let context = || {
        Some(Context {
            window: SeqWindow::new(32)?,
            handle: Handle::new(b"handle")?,
            base_key: BaseKey::new(Enctype::Aes128Sha256, Secret::new(KEY.to_vec()))?,
            key_origin: KeyOrigin::AcceptorSubkey,
            endtime: u32::MAX,
            send_sequence: 1,
            initiator: None,
        })
    };
    let channel = RpcChannel { host: "localhost".to_owned(), port: 1, program: 0, version: 0 };
    let security = Security::new(ContextRequest::new("nfs@localhost".parse().ok()?, channel));
    Some([security.install_initiator(context()?).ok()?, security.install_reverse(context()?).ok()?])
}
