//! Both ends of one context, as two programs have them.

use super::*;
use crate::crypto::enctype::Enctype;
use crate::crypto::mic::{KeyOrigin, MicError, Role};
use crate::crypto::wrap::{Protection, WrapError};
use crate::ctx::{BaseKey, Context, ContextRequest, Handle, SeqWindow, Service};
use crate::secret::Secret;
use crate::time::now;
use facts::ContextPlace;
use negotiation::{Seat, assemble};
use proptest::prelude::*;
use std::thread;

fn request() -> ContextRequest {
    let channel = "rpc:srv.example.test:2049,100003,4".parse().unwrap();
    ContextRequest::new("nfs@srv.example.test".parse().unwrap(), channel)
}

fn context(enctype: Enctype, send_sequence: u64, life: u32) -> Context {
    let key = Secret::new((1..=32).take(enctype.key_length()).collect());
    Context {
        window: SeqWindow::new(32).unwrap(),
        handle: Handle::new(b"handle").unwrap(),
        base_key: BaseKey::new(enctype, key).unwrap(),
        key_origin: KeyOrigin::AcceptorSubkey,
        endtime: u32::try_from(now()).unwrap() + life,
        send_sequence,
        initiator: None,
    }
}

/// The client's end, with its first number, and the server's.
fn ends(enctype: Enctype, first: u64) -> (ClientContext, ClientContext) {
    let seat = Seat { place: ContextPlace::Nowhere, role: Role::Initiator, first_token: first };
    let client = assemble(1000, &request().service, context(enctype, first, 100), seat).unwrap();
    let server = Security::new(request()).install_reverse(context(enctype, 77, 100)).unwrap();
    (client, server)
}

#[test]
fn a_copy_a_late_message_and_a_gap_are_told_apart() {
    let (client, server) = ends(Enctype::Aes256Sha1, 5);
    let tokens: Vec<_> = (0..4).map(|_| client.sign(b"message").unwrap()).collect();
    assert_eq!(server.verify(b"message", &tokens[0]), Ok(Arrival::InOrder));
    assert_eq!(server.verify(b"message", &tokens[2]), Ok(Arrival::Gap));
    assert_eq!(server.verify(b"message", &tokens[1]), Ok(Arrival::Late));
    for (token, number) in [(&tokens[0], 5), (&tokens[1], 6)] {
        let copy = server.verify(b"message", token).unwrap_err();
        assert_eq!((copy, copy.gss_major()), (MessageError::Duplicate(number), 0x2));
    }
    // A number counts once, whichever kind of token it comes with.
    let sealed = client.seal(b"message").unwrap();
    let received = server.unseal(&sealed).unwrap();
    assert_eq!((received.arrival, received.protection), (Arrival::Gap, Protection::Confidentiality));
    assert_eq!(server.unseal(&sealed).unwrap_err(), MessageError::Duplicate(9));
    assert_eq!(server.verify(b"message", &tokens[3]), Ok(Arrival::Late));
}

/// What is not accepted must not use up the number: the true message may still come.
#[test]
fn a_forged_number_does_not_shut_out_the_true_message() {
    let (client, server) = ends(Enctype::Aes128Sha256, 1);
    let token = client.sign(b"message").unwrap();
    let mut forged = token.clone();
    forged[20] ^= 1;
    let error = server.verify(b"message", &forged).unwrap_err();
    assert_eq!((error, error.gss_major()), (MessageError::Mic(MicError::Checksum), 0x6_0000));
    assert_eq!(server.verify(b"another", &token).unwrap_err(), MessageError::Mic(MicError::Checksum));
    assert_eq!(server.verify(b"message", &token), Ok(Arrival::InOrder));
    let error = server.unseal(&client.seal(b"message").unwrap()[..50]).unwrap_err();
    assert_eq!((error, error.gss_major()), (MessageError::Wrap(WrapError::Short(50)), 0x9_0000));
}

#[test]
fn an_old_number_is_refused_as_old() {
    let (client, server) = ends(Enctype::Aes128Sha1, 0);
    let first = client.sign(b"").unwrap();
    let last = (0..1024).fold(Vec::new(), |_, _| client.sign(b"").unwrap());
    assert_eq!(server.verify(b"", &last), Ok(Arrival::InOrder));
    let error = server.verify(b"", &first).unwrap_err();
    assert_eq!((error, error.gss_major()), (MessageError::Old(0), 0x4));
}

#[test]
fn the_last_number_ends_the_context() {
    let (client, server) = ends(Enctype::Aes256Sha384, u64::MAX - 1);
    assert_eq!(server.verify(b"x", &client.sign(b"x").unwrap()), Ok(Arrival::InOrder));
    let errors = [client.sign(b"x").unwrap_err(), client.seal(b"x").unwrap_err()];
    assert_eq!(errors, [MessageError::Exhausted; 2]);
    assert_eq!(errors[0].gss_major(), 0xc_0000);
}

#[test]
fn a_message_in_many_buffers_goes_through_in_place() {
    let (client, server) = ends(Enctype::Aes256Sha384, 1);
    let (mut first, mut second) = (*b"buffers of ", *b"different lengths");
    let affixes = client.wrap_bulk(&mut [&mut first, &mut [], &mut second]).unwrap();
    assert_ne!(&first, b"buffers of ");
    let (copies, head, tail) = ((first, second), affixes.head(), affixes.tail());
    assert_eq!(server.unwrap_bulk(head, &mut [&mut first, &mut second], tail), Ok(Arrival::InOrder));
    assert_eq!((&first, &second), (b"buffers of ", b"different lengths"));
    // A copy is refused, and its message erased.
    let (mut first, mut second) = copies;
    let copy = server.unwrap_bulk(head, &mut [&mut first, &mut second], tail);
    assert_eq!((copy, first, second), (Err(MessageError::Duplicate(1)), [0; 11], [0; 17]));
}

#[test]
fn a_context_that_has_ended_does_nothing() {
    let (client, server) = ends(Enctype::Aes256Sha1, 1);
    let token = client.sign(b"message").unwrap();
    server.die();
    let mut buffer = *b"as it was";
    let results = [
        server.sign(b"").unwrap_err(),
        server.seal(b"").unwrap_err(),
        server.protect(b"").unwrap_err(),
        server.verify(b"message", &token).unwrap_err(),
        server.unseal(&token).unwrap_err(),
        server.wrap_bulk(&mut [&mut buffer]).unwrap_err(),
        server.unwrap_bulk(b"", &mut [&mut buffer], b"").unwrap_err(),
        server.take_call_number(std::time::Instant::now()).unwrap_err(),
        server.validate().unwrap_err(),
    ];
    assert_eq!((results, results[0].gss_major()), ([MessageError::Dead; 9], 0x8_0000));
    assert_eq!(&buffer, b"as it was");
    assert!(!server.matches(server.owner(), &request().service));
    assert!(server.to_string().contains("has been ended"), "{server}");
}

#[test]
fn a_context_whose_time_is_over_says_so() {
    let security = Security::new(request());
    let ended = Context { endtime: 1_000, ..context(Enctype::Aes256Sha1, 1, 0) };
    let error = security.install_reverse(ended).unwrap().sign(b"").unwrap_err();
    assert_eq!((error, error.gss_major()), (MessageError::Expired(1_000), 0xc_0000));
}

#[test]
fn a_context_says_what_it_is() {
    let (client, _) = ends(Enctype::Aes256Sha1, 1);
    let other: Service = "nfs@other.example.test".parse().unwrap();
    assert!(client.matches(1000, &request().service));
    assert!(!client.matches(1001, &request().service) && !client.matches(1000, &other));
    let said = client.to_string();
    assert!(said.starts_with("nfs@srv.example.test for uid 1000, aes256-cts-hmac-sha1-96, "), "{said}");
    assert!(said.ends_with(" s left, in no key"), "{said}");
    assert!(!format!("{client:?}").contains("17, 18"), "a key's bytes");
}

#[test]
fn threads_at_both_ends_lose_and_repeat_nothing() {
    // All fit into the window, however long a thread has to wait for the processor.
    const EACH: usize = 60;
    let (client, server) = ends(Enctype::Aes128Sha1, 1);
    let accepted: usize = thread::scope(|scope| {
        let work = |thread: usize| {
            let (client, server) = (&client, &server);
            move || {
                let message = thread.to_be_bytes();
                let sealed = (0..EACH).map(|_| client.seal(&message).unwrap());
                sealed.filter(|token| *server.unseal(token).unwrap().message == message).count()
            }
        };
        let threads: Vec<_> = (0..16).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(accepted, 16 * EACH);
    let number = u64::from_be_bytes(client.sign(b"").unwrap()[8..16].try_into().unwrap());
    assert_eq!(number, 16 * 60 + 1);
}

#[test]
fn a_forced_flush_reaches_what_was_flushed_gracefully_before_and_nothing_else() {
    let (security, other) = (Security::new(request()), Security::new(request()));
    let [ours, others] = [&security, &other].map(|security| {
        let made = security.install_initiator(context(Enctype::Aes256Sha1, 1, 100)).unwrap();
        security.adopt(&made);
        made
    });
    assert!(security.present().is_some_and(|present| present.is(&ours)));
    assert_eq!(security.flush(&Flush::Owner(ours.owner() + 1), Manner::Forced), 0);
    assert_eq!(security.flush(&Flush::All, Manner::Graceful), 1);
    assert!(security.present().is_none());
    assert_eq!(ours.check(), Ok(()));
    assert_eq!(
        security.flush(&Flush::Service(request().service), Manner::Forced),
        0,
        "lookups gave none any more"
    );
    assert_eq!((ours.check(), others.check()), (Err(MessageError::Dead), Ok(())));
}

/// Needs root. Contexts belong to one uid: a thread that is half one user and half another has none.
#[test]
fn a_thread_with_another_uid_for_keys_has_no_context() {
    use nix::unistd::{Uid, setfsuid};
    let security = Security::new(request());
    let errors = thread::spawn(move || {
        // Of this thread alone.
        setfsuid(Uid::from_raw(64_002));
        (security.lookup(std::time::Duration::ZERO).unwrap_err(), security.refresh().unwrap_err())
    });
    assert_eq!(errors.join().unwrap(), (LookupError::WhichUser, LookupError::WhichUser));
}

proptest! {
    #[test]
    fn every_kind_of_token_goes_both_ways(
        number in 17_u32..=20, first in prop_oneof![Just(0), any::<u32>().prop_map(u64::from)],
        message in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let (client, server) = ends(Enctype::try_from(number).unwrap(), first);
        for (from, to) in [(&client, &server), (&server, &client)] {
            prop_assert_eq!(to.verify(&message, &from.sign(&message).unwrap()), Ok(Arrival::InOrder));
            let sealed = to.unseal(&from.seal(&message).unwrap()).unwrap();
            prop_assert_eq!((&*sealed.message, sealed.protection), (&message, Protection::Confidentiality));
            let signed = to.unseal(&from.protect(&message).unwrap()).unwrap();
            prop_assert_eq!((&*signed.message, signed.protection), (&message, Protection::Integrity));
            prop_assert_eq!(signed.arrival, Arrival::InOrder);
        }
    }
}
