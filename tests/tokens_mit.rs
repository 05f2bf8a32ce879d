//! Our tokens against MIT Kerberos: MIC tokens have the same bytes, Wrap tokens of each are opened by the other, whole and in
//! buffers (gss_wrap_iov), and both refuse what was damaged with the same status.
//!
//! Needs no root, but the KDC and the headers of MIT Kerberos (Debian: krb5-kdc, krb5-admin-server, libkrb5-dev), a C
//! compiler and util-linux, and fails without them. Every test has its own realm and KDC.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

use lgss::crypto::enctype::Enctype;
use lgss::crypto::mic::{KeyOrigin, MicError, MicKeys, Role};
use lgss::crypto::wrap::{Protection, WrapError, WrapKeys};
use lgss::secret::Secret;
use peer::{End, Opened, Peer};
use realm::{Library, Realm};

#[path = "tokens_mit/peer.rs"]
mod peer;
#[expect(dead_code, reason = "a bench uses the rest")]
#[path = "tokens_mit/realm.rs"]
mod realm;

#[test]
fn tokens_agree_with_mit_for_aes128_sha1() {
    tokens_agree_with_mit(Enctype::Aes128Sha1);
}

#[test]
fn tokens_agree_with_mit_for_aes256_sha1() {
    tokens_agree_with_mit(Enctype::Aes256Sha1);
}

#[test]
fn tokens_agree_with_mit_for_aes128_sha256() {
    tokens_agree_with_mit(Enctype::Aes128Sha256);
}

#[test]
fn tokens_agree_with_mit_for_aes256_sha384() {
    tokens_agree_with_mit(Enctype::Aes256Sha384);
}

fn tokens_agree_with_mit(enctype: Enctype) {
    tokens_agree(enctype, Library::Mit);
}

/// A second implementation, which has nothing in common with ours or MIT's.
#[test]
fn tokens_agree_with_heimdal_for_all_types() {
    for number in 17..=20 {
        tokens_agree(Enctype::try_from(number).expect("an AES type"), Library::Heimdal);
    }
}

fn tokens_agree(enctype: Enctype, library: Library) {
    let realm = Realm::start(enctype);
    let program = realm.compile("token_peer.c", library);
    // With mutual authentication the acceptor asserts a subkey; without it, it cannot.
    for (mode, origin) in [("mutual", KeyOrigin::AcceptorSubkey), ("one-way", KeyOrigin::Initiator)] {
        let (mut peer, initiator, acceptor) = Peer::start(&realm, (&program, library), mode);
        assert_eq!(initiator.key, acceptor.key);
        for mut end in [initiator, acceptor] {
            assert_eq!((end.enctype, end.origin), (enctype.number(), origin));
            for message in [&b""[..], b"1", &[2; 15], &[3; 16], &[4; 17], b"message", &[0xa5; 4096]] {
                exchange(&mut peer, &mut end, message);
                for kind in [Protection::Confidentiality, Protection::Integrity] {
                    exchange_wrapped(&mut peer, &mut end, (kind, message));
                }
                exchange_in_buffers(&mut peer, &mut end, message);
            }
        }
    }
}

/// MIT signs as `end` and we verify; then we sign as the opposite end and MIT verifies as `end`.
fn exchange(peer: &mut Peer, end: &mut End, message: &[u8]) {
    let enctype = Enctype::try_from(end.enctype).expect("an AES type");
    let (same, other) = match end.role {
        Role::Initiator => (Role::Initiator, Role::Acceptor),
        Role::Acceptor => (Role::Acceptor, Role::Initiator),
    };
    let keys = |role| {
        MicKeys::new(enctype, &Secret::new(end.key.clone()), end.origin, role)
            .expect("MIT's key fits its type")
    };

    let theirs = peer.sign(end.role, message);
    assert_eq!(keys(other).verify(message, &theirs), Ok(end.send_sequence));
    assert_eq!(keys(same).sign(message, end.send_sequence), theirs, "our token for the same number differs");
    end.send_sequence += 1;

    let mut damaged = keys(other).sign(message, end.receive_sequence);
    *damaged.last_mut().expect("a token is not empty") ^= 1;
    assert_eq!(keys(same).verify(message, &damaged), Err(MicError::Checksum));
    assert_eq!(peer.verify(end.role, message, &damaged), GSS_S_BAD_SIG);
    end.receive_sequence += peer.library.lost_by_a_damaged_token();
    let ours = keys(other).sign(message, end.receive_sequence);
    assert_eq!(peer.verify(end.role, message, &ours), GSS_S_COMPLETE);
    assert_eq!(peer.verify(end.role, message, &ours), GSS_S_DUPLICATE_TOKEN, "sent a second time");
    end.receive_sequence += 1;
}

fn ours(end: &End) -> [WrapKeys; 2] {
    let enctype = Enctype::try_from(end.enctype).expect("an AES type");
    let other = match end.role {
        Role::Initiator => Role::Acceptor,
        Role::Acceptor => Role::Initiator,
    };
    [end.role, other].map(|role| {
        WrapKeys::new(enctype, &Secret::new(end.key.clone()), end.origin, role)
            .expect("MIT's key fits its type")
    })
}

/// MIT wraps as `end` and we open it; then we wrap as the opposite end and MIT opens it as `end`.
fn exchange_wrapped(peer: &mut Peer, end: &mut End, (kind, message): (Protection, &[u8])) {
    let [_, other] = ours(end);
    let theirs = peer.wrap(end.role, kind, message);
    let opened = other.unseal(&theirs).expect("a token of MIT's");
    assert_eq!((&opened.message[..], opened.sequence), (message, end.send_sequence));
    assert_eq!(opened.protection, kind);
    end.send_sequence += 1;

    let wrap = |number: u64| {
        let wrapped = match kind {
            Protection::Confidentiality => other.seal(message, number),
            Protection::Integrity => other.protect(message, number),
        };
        wrapped.expect("random numbers")
    };
    for place in [17, wrap(0).len() - 1] {
        let mut damaged = wrap(end.receive_sequence);
        damaged.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1);
        assert_eq!(ours(end)[0].unseal(&damaged).map(drop), Err(WrapError::Mismatch));
        assert_eq!(peer.unwrap(end.role, &damaged).status, GSS_S_BAD_SIG);
        end.receive_sequence += peer.library.lost_by_a_damaged_token();
    }
    let wrapped = wrap(end.receive_sequence);
    let good = Opened { status: GSS_S_COMPLETE, kind, message: message.to_vec() };
    assert_eq!(peer.unwrap(end.role, &wrapped), good);
    assert_eq!(peer.unwrap(end.role, &wrapped).status, GSS_S_DUPLICATE_TOKEN, "sent a second time");
    end.receive_sequence += 1;
}

/// The same in buffers; MIT has two, and we three.
fn exchange_in_buffers(peer: &mut Peer, end: &mut End, message: &[u8]) {
    let [_, other] = ours(end);
    let [header, mut sealed, trailer] = peer.wrap_iov(end.role, message);
    let third = sealed.len() / 3;
    let (first, rest) = sealed.split_at_mut(third);
    let (second, last) = rest.split_at_mut(third);
    let opened = other.unseal_in_place(&header, &mut [first, second, last], &trailer);
    assert_eq!((opened, &sealed[..]), (Ok(end.send_sequence), message));
    end.send_sequence += 1;

    let mut sealed = message.to_vec();
    let (first, rest) = sealed.split_at_mut(message.len() / 2);
    let affixes = other.seal_in_place(&mut [first, rest], end.receive_sequence).expect("random numbers");
    let good =
        Opened { status: GSS_S_COMPLETE, kind: Protection::Confidentiality, message: message.to_vec() };
    assert_eq!(peer.unwrap_iov(end.role, [affixes.head(), &sealed, affixes.tail()]), good);
    end.receive_sequence += 1;
}

// RFC 2744 §3.9.1.
const GSS_S_COMPLETE: u32 = 0;
const GSS_S_DUPLICATE_TOKEN: u32 = 0x2;
const GSS_S_BAD_SIG: u32 = 0x6_0000;
