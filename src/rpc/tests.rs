//! A client with a server of ours that has the other end of its context, and does in one way each what a server must not.

mod connections;
mod server;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::body::{ProtectedCall, Purpose, ReplyVerdict, decode};
use super::*;
use crate::onc_rpc::record;
use crate::security::{LookupError, MessageError};
use proptest::prelude::*;
use server::{Heard, LIMITS, answering, client_of, ends, good_reply, hear, hear_procedure, reply, send};

const SHORT: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(60);
const PROTECTIONS: [CallProtection; 3] =
    [CallProtection::Header, CallProtection::Integrity, CallProtection::Privacy];

#[test]
fn arguments_and_results_go_through_with_every_protection() {
    for protection in PROTECTIONS {
        let (client, _) =
            client_of(protection, LONG, answering(|server, heard| vec![good_reply(server, heard)]));
        for length in [0, 4, 8, 4000] {
            assert_eq!(*client.call(1, &vec![0xa7; length]).unwrap(), vec![0xa7; length], "{protection:?}");
        }
    }
}

#[test]
fn what_others_send_is_passed_over() {
    for protection in PROTECTIONS {
        let (client, _) = client_of(
            protection,
            LONG,
            answering(|server, heard| {
                let sequence = heard.sequence;
                let mut forged = good_reply(server, heard);
                forged[30] ^= 1;
                let other_call = Heard { xid: heard.xid ^ 1, ..Heard { arguments: Vec::new(), ..*heard } };
                vec![
                    forged,
                    reply(server, heard, (sequence + 9, sequence), b"of another call"),
                    good_reply(server, &other_call),
                    vec![1],
                    good_reply(server, heard),
                    good_reply(server, heard),
                ]
            }),
        );
        assert_eq!(*client.call(1, b"true").unwrap(), *b"true");
        assert_eq!(*client.call(1, b"next").unwrap(), *b"next", "the second reply to the first call is late");
    }
}

#[test]
fn results_of_another_call_or_without_their_protection_are_refused() {
    let (client, _) = client_of(
        CallProtection::Integrity,
        LONG,
        answering(|server, heard| vec![reply(server, heard, (heard.sequence, heard.sequence + 1), b"copy")]),
    );
    let error = client.call(1, b"").unwrap_err();
    assert!(matches!(error, RpcError::OtherNumber { expected: 1, found: 2 }), "{error}");

    let (client, _) = client_of(
        CallProtection::Privacy,
        LONG,
        answering(|server, heard| {
            let mut message = reply(
                server,
                &Heard { protection: CallProtection::Header, arguments: Vec::new(), ..*heard },
                (heard.sequence, 0),
                b"",
            );
            let body = [&heard.sequence.to_be_bytes()[..], b"open"].concat();
            let token = server.wrap().protect(&body, 5).unwrap();
            let mut opaque = XdrEncoder::new();
            message.extend_from_slice(opaque.opaque(&token).unwrap().as_slice());
            vec![message]
        }),
    );
    let error = client.call(1, b"").unwrap_err();
    assert!(matches!(error, RpcError::InTheClear), "{error}");

    // The results of a call without protection are no answer to one with it.
    for protection in [CallProtection::Integrity, CallProtection::Privacy] {
        let (client, _) = client_of(
            protection,
            LONG,
            answering(|server, heard| {
                let unprotected =
                    Heard { protection: CallProtection::Header, arguments: Vec::new(), ..*heard };
                vec![reply(server, &unprotected, (heard.sequence, 0), b"\0\0\0\x04open")]
            }),
        );
        assert!(client.call(1, b"").is_err());
    }
}

/// Cut anywhere, no reply gives results, and none makes the client panic or wait longer than its limit.
#[test]
fn a_reply_cut_anywhere_gives_no_results() {
    for protection in PROTECTIONS {
        let (ours, server) = ends();
        let call = ProtectedCall {
            purpose: Purpose::Data,
            program: 100_003,
            version: 4,
            procedure: 1,
            protection,
            arguments: b"args",
        };
        let message = call.encode(&ours, 9, 1).unwrap();
        let whole = good_reply(&server, &hear(message.as_slice(), &server));
        let read = |message: &[u8]| decode(message, &ours, protection, (9, &[1]));
        assert!(matches!(read(&whole), Ok(ReplyVerdict::Results(results)) if *results == *b"args"));
        let cut = (0..whole.len()).map(|length| read(&whole[..length]));
        // Without protection the results may end anywhere.
        let cut = cut.take(if protection == CallProtection::Header { whole.len() - 4 } else { usize::MAX });
        assert!(cut.into_iter().all(|read| !matches!(read, Ok(ReplyVerdict::Results(_)))));
        assert!(protection == CallProtection::Header || read(&[&whole[..], &[0; 4]].concat()).is_err());
    }
}

#[test]
fn a_call_is_sent_again_with_another_number_and_a_reply_to_its_first_still_counts() {
    let first = Arc::new(Mutex::new(None));
    let (client, _) = client_of(CallProtection::Integrity, LONG, move |_, stream, server| {
        let heard = hear(&record::read(stream, LIMITS).unwrap(), server);
        let mut first = first.lock().unwrap();
        let Some(first) = &*first else {
            *first = Some(heard);
            return;
        };
        assert_eq!((first.xid, &first.arguments), (heard.xid, &heard.arguments));
        assert!(heard.sequence > first.sequence);
        send(stream, &good_reply(server, first));
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(*client.call(1, b"once").unwrap(), *b"once");
}

/// A verifier signs the number alone, as the signature of empty results would.
#[test]
fn a_verifier_does_not_pass_as_the_signature_of_no_results() {
    let (client, _) = client_of(
        CallProtection::Integrity,
        LONG,
        answering(|server, heard| {
            let number = heard.sequence.to_be_bytes();
            let verifier = server.mic().sign(&number, server.take_token_number().unwrap());
            let mut message = XdrEncoder::new();
            message.u32(heard.xid).u32(1).u32(0).u32(6).opaque(&verifier).unwrap().u32(0);
            message.opaque(&number).unwrap().opaque(&verifier).unwrap();
            vec![message.as_slice().to_vec()]
        }),
    );
    assert!(matches!(client.call(1, b""), Err(RpcError::Unsigned)));
}

#[test]
fn a_lost_connection_is_made_anew_and_the_call_repeated() {
    let (client, _) = client_of(CallProtection::Privacy, LONG, |number, stream, server| {
        let message = record::read(stream, LIMITS).unwrap();
        let whole = [&(0x8000_0000_u32 | 100).to_be_bytes()[..], &[0; 50]].concat();
        match number {
            0 => {}
            1 => drop(stream.write_all(&whole)),
            _ => {
                let heard = hear(&message, server);
                assert_eq!(heard.sequence, 3);
                send(stream, &good_reply(server, &heard));
                let _ = stream.read(&mut [0]);
            }
        }
    });
    assert_eq!(*client.call(1, b"again").unwrap(), *b"again");
    let (client, _) =
        client_of(CallProtection::Privacy, LONG, |_, stream, _| drop(record::read(stream, LIMITS)));
    let error = client.call(1, b"").unwrap_err();
    assert!(
        matches!(error, RpcError::Lost(_)) && error.to_string().contains("closed by the server"),
        "{error}"
    );
}

#[test]
fn a_server_can_neither_hold_the_caller_nor_fill_its_memory() {
    let begun = Instant::now();
    let (client, _) = client_of(CallProtection::Header, SHORT, |_, stream, _| {
        // One byte now and then, of a reply as long as may be.
        let _ = stream.write_all(&(0x8000_0000_u32 | 100_000).to_be_bytes());
        while stream.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let error = client.call(1, b"").unwrap_err();
    assert!(matches!(error, RpcError::Silent(_)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "the limit was {SHORT:?}");
    for record in [[0x7f, 0xff, 0xff, 0xff], [0x80, 0x01, 0x86, 0xa1], [0, 0, 0, 0]] {
        let (client, _) = client_of(
            CallProtection::Header,
            LONG,
            move |_, stream, _| {
                while stream.write_all(&record).is_ok() {}
            },
        );
        let error = client.call(1, b"").unwrap_err();
        assert!(matches!(error, RpcError::Lost(_)) && error.to_string().contains("sends a"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(50));
}

/// Two words of nobody's lead to one new context, of which there is none here, and not to a call without end.
#[test]
fn a_context_that_the_server_does_not_know_is_replaced_once() {
    for status in [2_u32, 13, 14] {
        let (client, ours) = client_of(
            CallProtection::Header,
            LONG,
            answering(move |_, heard| {
                let mut denied = XdrEncoder::new();
                denied.u32(heard.xid).u32(1).u32(1).u32(1).u32(status);
                vec![denied.as_slice().to_vec()]
            }),
        );
        let error = client.call(1, b"").unwrap_err();
        assert!(
            matches!(error, RpcError::Lookup(LookupError::Client(_) | LookupError::Failed(_))),
            "{error}"
        );
        // Whoever has it may use it on.
        assert_eq!(ours.check(), Ok(()));
    }
    // Other denials leave it alone.
    let (client, ours) = client_of(
        CallProtection::Header,
        LONG,
        answering(|_, heard| {
            let mut denied = XdrEncoder::new();
            denied.u32(heard.xid).u32(1).u32(1).u32(1).u32(5);
            vec![denied.as_slice().to_vec()]
        }),
    );
    let error = client.call(1, b"").unwrap_err();
    assert!(error.to_string().contains("AUTH_TOOWEAK"), "{error}");
    assert_eq!(ours.check(), Ok(()));
}

/// Nobody has signed it, so whoever sends it again and again does not have contexts made as often.
#[test]
fn contexts_that_the_server_seems_not_to_know_are_replaced_now_and_then_only() {
    let (client, ours) = client_of(CallProtection::Header, LONG, |_, _, _| {});
    let security = client.security().clone();
    let handle = crate::ctx::Handle::new(b"another").unwrap();
    let next = security.install_initiator(crate::ctx::Context { handle, ..server::context() }).unwrap();
    let denial = RpcError::Reply(RpcReplyError::Rejected(AuthStatus::CREDENTIAL_PROBLEM));
    assert!(client.may_replace(&ours, &denial));
    // Calls of other threads with the same one.
    assert!(client.may_replace(&ours, &denial));
    assert!(!client.may_replace(&next, &denial));
    // What the client itself finds is another matter.
    assert!(client.may_replace(&next, &MessageError::Exhausted.into()));
}

#[test]
fn a_refusal_counts_only_if_the_server_has_signed_it() {
    let (client, _) = client_of(
        CallProtection::Integrity,
        LONG,
        answering(|server, heard| {
            let refusal = |sequence: u32| {
                let verifier =
                    server.mic().sign(&sequence.to_be_bytes(), server.take_token_number().unwrap());
                let mut message = XdrEncoder::new();
                message.u32(heard.xid).u32(1).u32(0).u32(6).opaque(&verifier).unwrap().u32(3);
                message.as_slice().to_vec()
            };
            vec![refusal(heard.sequence + 1), refusal(heard.sequence)]
        }),
    );
    let error = client.call(1, b"").unwrap_err();
    assert!(matches!(error, RpcError::Reply(RpcReplyError::ProcedureUnavailable)), "{error}");
}

#[test]
fn a_context_is_destroyed_by_a_signed_message() {
    let (client, ours) = client_of(CallProtection::Privacy, LONG, |_, stream, server| {
        let message = record::read(stream, LIMITS).unwrap();
        let heard = hear_procedure(&message, server, 0);
        assert_eq!((heard.purpose, heard.protection), (3, CallProtection::Header));
        assert!(heard.arguments.is_empty());
        send(stream, &good_reply(server, &heard));
        let _ = stream.read(&mut [0]);
    });
    client.destroy_context().unwrap();
    assert_eq!(ours.check(), Err(MessageError::Dead));
    // There is nothing left to destroy, and no context is made for it.
    client.destroy_context().unwrap();
}

#[test]
fn threads_share_a_connection_and_each_gets_its_own_results() {
    for protection in PROTECTIONS {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let answer = answering(|server, heard| vec![good_reply(server, heard)]);
        let (client, _) = client_of(protection, LONG, move |number, stream, server| {
            counted.fetch_add(1, Ordering::Relaxed);
            answer(number, stream, server);
        });
        assert_eq!(*client.call(1, b"one connects").unwrap(), *b"one connects");
        thread::scope(|scope| {
            for number in 0..16_u32 {
                let client = &client;
                scope.spawn(move || {
                    for round in 0..30 {
                        let arguments = [number.to_be_bytes(), u32::to_be_bytes(round)].concat();
                        assert_eq!(*client.call(1, &arguments).unwrap(), arguments);
                    }
                });
            }
        });
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }
}

proptest! {
    #[test]
    fn any_message_is_an_answer_or_refused_without_a_panic(tail: Vec<u8>, which in 0_usize..3) {
        let (ours, _) = ends();
        let message = [&[0, 0, 0, 9, 0, 0, 0, 1][..], &tail].concat();
        for message in [&tail, &message] {
            let read = decode(message, &ours, PROTECTIONS[which], (9, &[1]));
            prop_assert!(!matches!(read, Ok(ReplyVerdict::Results(_))));
        }
    }
}
