//! Checks for the fuzz targets (docs/fuzzing.md): replies to calls that a context protects.

use super::body::{CallProtection, ReplyVerdict, decode};
use super::error::RpcError;
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

/// `protection and kind · signed · rest`. The one kind: nothing but what the other end has signed gives results. With an odd `signed` the verifier is right,
/// so that the results are read. The other kind, [`changed`]: a good reply with these results, and a bit of it changed.
pub fn replies(data: &[u8]) {
    let Some((&[which, signed], rest)) = data.split_first_chunk() else { return };
    let Some(&protection) = PROTECTIONS.get(usize::from(which % 3)) else { return };
    let Some([ours, server]) = ends() else { return };
    let read = |message: &[u8]| decode(message, &ours, protection, (XID, &[SEQUENCE]));
    if which / 3 % 2 == 1 {
        let Some(message) = good_reply(&server, protection, rest) else { return };
        return changed(message, (rest, signed), protection, read);
    }
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

/// No change lets other results pass than those that were protected: only padding may differ.
fn changed(
    mut message: Vec<u8>,
    (results, place): (&[u8], u8),
    protection: CallProtection,
    read: impl Fn(&[u8]) -> Result<ReplyVerdict, RpcError>,
) {
    let padded = results.len().next_multiple_of(4);
    let is_of_header = protection == CallProtection::Header;
    let as_sent = |found: &[u8]| {
        found == results || is_of_header && found.len() == padded && found.starts_with(results)
    };
    assert!(matches!(read(&message), Ok(ReplyVerdict::Results(found)) if as_sent(&found)));
    // The whole length comes within reach of one byte.
    let place = message.len() * usize::from(place) / 256;
    let cut = message.get(..place).map(&read);
    assert!(is_of_header || !matches!(cut, Some(Ok(ReplyVerdict::Results(_)))), "cut at {place}");
    let signed_to = if is_of_header { message.len() - padded } else { message.len() };
    if let Some(byte) = message.get_mut(..signed_to).and_then(|signed| signed.get_mut(place)) {
        *byte ^= 1 << (results.len() % 8);
        if let Ok(ReplyVerdict::Results(found)) = read(&message) {
            assert!(as_sent(&found), "byte {place}");
        }
    }
}

/// What the server sends.
fn good_reply(server: &ClientContext, protection: CallProtection, results: &[u8]) -> Option<Vec<u8>> {
    let mut message = XdrEncoder::new();
    let verifier = server.mic().sign(&SEQUENCE.to_be_bytes(), 1);
    message.u32(XID).u32(1).u32(0).u32(6).opaque(&verifier).ok()?.u32(0);
    let body = [&SEQUENCE.to_be_bytes(), results].concat();
    match protection {
        CallProtection::Header => message.fixed(results),
        CallProtection::Integrity => message.opaque(&body).ok()?.opaque(&server.mic().sign(&body, 2)).ok()?,
        CallProtection::Privacy => message.opaque(&server.wrap().seal(&body, 2).ok()?).ok()?,
    };
    Some(message.as_slice().to_vec())
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
