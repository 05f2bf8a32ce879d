//! The channel with servers on the loopback that misbehave in one way each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::*;
use crate::onc_rpc::record::{self, RecordError};
use crate::onc_rpc::reply::RpcReplyError;
use crate::wire::Writer;

const SHORT: Duration = Duration::from_millis(300);
const RPC_PROGRAM: Program = Program { number: 100_003, version: 4 };

/// A server that handles one connection in this way.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// The client's result with that server, without a tight time limit.
fn exchange_with(serve: impl FnOnce(TcpStream) + Send + 'static) -> Result<Answer, ChannelError> {
    exchange_within(Duration::from_secs(60), serve)
}

fn exchange_within(
    limit: Duration,
    serve: impl FnOnce(TcpStream) + Send + 'static,
) -> Result<Answer, ChannelError> {
    let (address, thread) = server(serve);
    let stream = TcpStream::connect(address).unwrap();
    let mut client = RpcTokenClient::new(stream, RPC_PROGRAM, limit);
    let answer = client.exchange(None, &Secret::new(b"token".to_vec()));
    drop(client);
    thread.join().unwrap();
    answer
}

/// Reads the call and returns its xid.
fn xid_of_call(stream: &mut TcpStream) -> [u8; 4] {
    let call = record::read(stream, RPC_MESSAGES).unwrap();
    *call.first_chunk().unwrap()
}

fn complete_answer(xid: [u8; 4]) -> Vec<u8> {
    let mut message = Writer::new();
    message.bytes(&xid).u32_be(1).u32_be(0).u32_be(6).opaque_xdr(b"mic!").unwrap().u32_be(0);
    message.opaque_xdr(b"handle").unwrap().u32_be(0).u32_be(0).u32_be(32).opaque_xdr(b"reply").unwrap();
    message.as_slice().to_vec()
}

fn fragment(last: u32, body: &[u8]) -> Vec<u8> {
    [&(last << 31 | u32::try_from(body.len()).unwrap()).to_be_bytes(), body].concat()
}

#[test]
fn an_answer_in_fragments_that_trickle_is_put_together() {
    let answer = exchange_with(|mut stream| {
        let answer = complete_answer(xid_of_call(&mut stream));
        let (head, tail) = answer.split_at(21);
        for part in [fragment(0, head), fragment(0, b""), fragment(1, tail)].concat().chunks(7) {
            stream.write_all(part).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(answer.unwrap().token.expose(), b"reply");
}

#[test]
fn a_server_that_trickles_for_ever_is_silent_after_the_limit() {
    let begun = Instant::now();
    let error = exchange_within(SHORT, |mut stream| {
        xid_of_call(&mut stream);
        let _ = stream.write_all(&fragment(1, &[0; 60_000])[..4]);
        while stream.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(matches!(error, Err(ChannelError::Silent)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_server_that_never_answers_is_silent() {
    let error = exchange_within(SHORT, |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert!(matches!(error, Err(ChannelError::Silent)), "{error:?}");
}

#[test]
fn endless_empty_fragments_and_oversized_records_are_refused() {
    let error = exchange_with(|mut stream| while stream.write_all(&fragment(0, b"")).is_ok() {});
    assert!(matches!(error, Err(ChannelError::Malformed(RecordError::TooManyFragments))), "{error:?}");
    let error = exchange_with(|mut stream| {
        xid_of_call(&mut stream);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    assert!(matches!(error, Err(ChannelError::Malformed(RecordError::TooLong))), "{error:?}");
}

#[test]
fn a_reply_to_another_call_and_a_rejection_are_errors() {
    let error = exchange_with(|mut stream| {
        let [a, b, c, d] = xid_of_call(&mut stream);
        stream.write_all(&fragment(1, &complete_answer([a, b, c, !d]))).unwrap();
    });
    assert!(matches!(error, Err(ChannelError::Reply(RpcReplyError::OtherCall { .. }))), "{error:?}");
    let error = exchange_with(|mut stream| {
        let rejected =
            [&xid_of_call(&mut stream)[..], &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2]].concat();
        stream.write_all(&fragment(1, &rejected)).unwrap();
    });
    assert!(matches!(error, Err(ChannelError::Reply(RpcReplyError::Rejected(_)))), "{error:?}");
}

#[test]
fn a_connection_closed_before_and_within_the_answer_is_an_error() {
    let error = exchange_with(|mut stream| {
        xid_of_call(&mut stream);
    });
    assert!(matches!(error, Err(ChannelError::Closed(0))), "{error:?}");
    let error = exchange_with(|mut stream| {
        let answer = fragment(1, &complete_answer(xid_of_call(&mut stream)));
        stream.write_all(&answer[..30]).unwrap();
    });
    assert!(matches!(error, Err(ChannelError::Closed(30))), "{error:?}");
}
