//! Connections that are lost, dead, or full, and servers that start again.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use super::server::{LIMITS, client_at, client_of, good_reply, hear, send};
use super::{LONG, SHORT};
use crate::onc_rpc::record;
use crate::rpc::{CallProtection, RpcError, XdrEncoder};
use crate::security::MessageError;

/// A server that starts again refuses connections for a while; one that was never there is told at once.
#[test]
fn a_server_that_starts_again_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (client, _, server) = client_at(address.port(), CallProtection::Privacy, LONG);
    let serving = thread::spawn(move || {
        drop(record::read(&mut listener.accept().unwrap().0, LIMITS).unwrap());
        drop(listener);
        thread::sleep(Duration::from_millis(400));
        let (mut stream, _) = TcpListener::bind(address).unwrap().accept().unwrap();
        let message = record::read(&mut stream, LIMITS).unwrap();
        send(&mut stream, &good_reply(&server, &hear(&message, &server)));
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(*client.call(1, b"later").unwrap(), *b"later");
    drop(client);
    serving.join().unwrap();
    let begun = Instant::now();
    let (client, ..) = client_at(address.port(), CallProtection::Privacy, LONG);
    assert!(matches!(client.call(1, b""), Err(RpcError::Connect(_))));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// A peer that has gone without a word costs one call: the next goes over a new connection.
#[test]
fn a_connection_on_which_nothing_comes_is_given_up() {
    let (client, _) = client_of(CallProtection::Integrity, SHORT, |number, stream, server| {
        while let Ok(message) = record::read(stream, LIMITS) {
            if number > 0 {
                send(stream, &good_reply(server, &hear(&message, server)));
            }
        }
    });
    assert!(matches!(client.call(1, b"lost"), Err(RpcError::Silent(_))));
    assert_eq!(*client.call(1, b"next").unwrap(), *b"next");
}

/// One after the other sends; whoever cannot, because of one that the server does not read, waits no longer than it may.
#[test]
fn a_server_that_does_not_read_holds_no_caller_beyond_its_limit() {
    let limit = Duration::from_millis(900);
    let (client, _) = client_of(CallProtection::Header, limit, |_, stream, _| {
        thread::sleep(Duration::from_secs(8));
        drop(stream.flush());
    });
    let arguments = vec![0; 16 << 20];
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let begun = Instant::now();
                assert!(matches!(client.call(1, &arguments), Err(RpcError::Silent(_) | RpcError::Lost(_))));
                assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
            });
        }
    });
}

#[test]
fn a_context_that_the_server_has_forgotten_is_destroyed_all_the_same() {
    let (client, ours) = client_of(CallProtection::Privacy, LONG, |_, stream, _| {
        let message = record::read(stream, LIMITS).unwrap();
        let xid = u32::from_be_bytes(*message.first_chunk().unwrap());
        let mut denied = XdrEncoder::new();
        denied.u32(xid).u32(1).u32(1).u32(1).u32(13);
        send(stream, denied.as_slice());
        let _ = stream.read(&mut [0]);
    });
    client.destroy_context().unwrap();
    assert_eq!(ours.check(), Err(MessageError::Dead));
}
