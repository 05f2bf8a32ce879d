//! The server of the tests: it checks calls as a server does, and says what it is told to.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::crypto::enctype::Enctype;
use crate::crypto::mic::KeyOrigin;
use crate::ctx::{BaseKey, Context, ContextRequest, Handle, SeqWindow};
use crate::onc_rpc::record::{self, RecordLimits};
use crate::rpc::{CallProtection, Client, ClientOptions, XdrDecoder, XdrEncoder};
use crate::secret::Secret;
use crate::security::{ClientContext, Security};
use crate::time::now;

pub(super) const LIMITS: RecordLimits = RecordLimits { bytes: 1 << 20, fragments: 8 };

pub(super) fn context() -> Context {
    Context {
        window: SeqWindow::new(32).unwrap(),
        handle: Handle::new(b"handle").unwrap(),
        base_key: BaseKey::new(Enctype::Aes256Sha1, Secret::new(vec![7; 32])).unwrap(),
        key_origin: KeyOrigin::AcceptorSubkey,
        endtime: u32::try_from(now()).unwrap() + 1000,
        send_sequence: 1,
        initiator: None,
    }
}

/// The two ends of a context.
pub(super) fn ends() -> (ClientContext, ClientContext) {
    let security = Security::new(request(1));
    (security.install_initiator(context()).unwrap(), security.install_reverse(context()).unwrap())
}

pub(super) fn request(port: u16) -> ContextRequest {
    let channel = format!("rpc:127.0.0.1:{port},100003,4").parse().unwrap();
    ContextRequest::new("nfs@srv.example.test".parse().unwrap(), channel)
}

/// A call as the server reads it.
pub(super) struct Heard {
    pub(super) xid: u32,
    pub(super) sequence: u32,
    pub(super) purpose: u32,
    pub(super) protection: CallProtection,
    pub(super) arguments: Vec<u8>,
}

/// Checks a call as a server does, and takes it apart.
pub(super) fn hear(message: &[u8], server: &ClientContext) -> Heard {
    hear_procedure(message, server, 1)
}

pub(super) fn hear_procedure(message: &[u8], server: &ClientContext, procedure: u32) -> Heard {
    let mut call = XdrDecoder::new(message);
    let xid = call.u32().unwrap();
    assert_eq!(
        [(); 5].map(|()| call.u32().unwrap()),
        [0, 2, 100_003, 4, procedure],
        "type, version, program, procedure"
    );
    assert_eq!(call.u32(), Ok(6));
    let mut credential = XdrDecoder::new(call.opaque(400).unwrap());
    let [version, purpose, sequence, service] = [(); 4].map(|()| credential.u32().unwrap());
    assert_eq!((version, credential.opaque(400)), (1, Ok(&b"handle"[..])));
    let rest = call.rest();
    let header = &message[..message.len() - rest.len()];
    let mut rest = XdrDecoder::new(rest);
    assert_eq!(rest.u32(), Ok(6));
    server.mic().verify(header, rest.opaque(400).unwrap()).unwrap();
    let body = rest.rest();
    let (protection, arguments) = match service {
        1 => (CallProtection::Header, body.to_vec()),
        2 => {
            let mut parts = XdrDecoder::new(body);
            let (body, mic) = (parts.opaque(1 << 20).unwrap(), parts.opaque(400).unwrap());
            server.mic().verify(body, mic).unwrap();
            assert_eq!(body[..4], sequence.to_be_bytes());
            (CallProtection::Integrity, body[4..].to_vec())
        }
        _ => {
            let opened = server.wrap().unseal(XdrDecoder::new(body).opaque(1 << 20).unwrap()).unwrap();
            assert_eq!(opened.message[..4], sequence.to_be_bytes());
            (CallProtection::Privacy, opened.message[4..].to_vec())
        }
    };
    Heard { xid, sequence, purpose, protection, arguments }
}

/// A reply with these results, signed and protected for the sequence numbers of verifier and body.
pub(super) fn reply(
    server: &ClientContext,
    heard: &Heard,
    (verified, inside): (u32, u32),
    results: &[u8],
) -> Vec<u8> {
    let number = || server.take_token_number().unwrap();
    let mut message = XdrEncoder::new();
    let verifier = server.mic().sign(&verified.to_be_bytes(), number());
    message.u32(heard.xid).u32(1).u32(0).u32(6).opaque(&verifier).unwrap().u32(0);
    let body = [&inside.to_be_bytes()[..], results].concat();
    match heard.protection {
        CallProtection::Header => message.fixed(results),
        CallProtection::Integrity => {
            message.opaque(&body).unwrap().opaque(&server.mic().sign(&body, number())).unwrap()
        }
        CallProtection::Privacy => message.opaque(&server.wrap().seal(&body, number()).unwrap()).unwrap(),
    };
    message.as_slice().to_vec()
}

pub(super) fn good_reply(server: &ClientContext, heard: &Heard) -> Vec<u8> {
    reply(server, heard, (heard.sequence, heard.sequence), &heard.arguments)
}

pub(super) fn send(stream: &mut TcpStream, message: &[u8]) {
    let _ = record::write(stream, message);
}

/// A client whose server does `serve` with each connection, which it is given the number of. The client's context is known to the
/// server; when it is given up, there is no other.
pub(super) fn client_of(
    protection: CallProtection,
    limit: Duration,
    serve: impl Fn(usize, &mut TcpStream, &ClientContext) + Send + Sync + 'static,
) -> (Client, ClientContext) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, ours, server) = client_at(listener.local_addr().unwrap().port(), protection, limit);
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (serve, server) = (Arc::clone(&serve), server.clone());
            thread::spawn(move || serve(number, &mut stream.unwrap(), &server));
        }
    });
    (client, ours)
}

/// A client of a server at this port, and the two ends of its context.
pub(super) fn client_at(
    port: u16,
    protection: CallProtection,
    limit: Duration,
) -> (Client, ClientContext, ClientContext) {
    let security = Security::new(request(port));
    let (ours, server) =
        (security.install_initiator(context()).unwrap(), security.install_reverse(context()).unwrap());
    security.adopt(&ours);
    (Client::new(security, ClientOptions { protection, limit, longest_reply: 100_000 }), ours, server)
}

/// Answers every call by `answer`.
pub(super) fn answering(
    answer: impl Fn(&ClientContext, &Heard) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> impl Fn(usize, &mut TcpStream, &ClientContext) + Send + Sync + 'static {
    move |_, stream, server| {
        while let Ok(message) = record::read(stream, LIMITS) {
            let heard = hear(&message, server);
            answer(server, &heard).iter().for_each(|reply| send(stream, reply));
        }
    }
}
