use super::*;
use crate::crypto::block_cipher::BlockCipher;
use crate::crypto::ends::{GSS_S_BAD_SIG, GSS_S_DEFECTIVE_TOKEN};
use proptest::prelude::*;

const ENCTYPES: [Enctype; 4] =
    [Enctype::Aes128Sha1, Enctype::Aes256Sha1, Enctype::Aes128Sha256, Enctype::Aes256Sha384];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

fn ends(enctype: Enctype, origin: KeyOrigin) -> (WrapKeys, WrapKeys) {
    let key = Secret::new((0_u8..32).take(enctype.key_length()).collect());
    let end = |role| WrapKeys::new(enctype, &key, origin, role).unwrap();
    (end(Role::Initiator), end(Role::Acceptor))
}

#[test]
fn stealing_gives_the_values_of_rfc_3962_b() {
    let text = b"I would like the General Gau's Chicken, please, and wonton soup.";
    let cipher = BlockCipher::new(Enctype::Aes128Sha1, b"chicken teriyaki").unwrap();
    for output in [
        "c6353568f2bf8cb4d8a580362da7ff7f97",
        "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5",
        "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584",
        "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5",
        "97687268d6ecccc0c07b25e25ecfe5849dad8bbb96c4cdc03bc103e1a194bbd839312523a78662d5be7fcbcc98ebf5a8",
        "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a84807efe836ee89a526730dbc2f7bc8409dad8bbb96c4cdc03bc103e1a194bbd8",
    ] {
        let output = bytes(output);
        let mut message = text[..output.len()].to_vec();
        cipher.encrypt(&mut [&mut message]);
        assert_eq!(message, output);
        cipher.decrypt(&mut [&mut message]);
        assert_eq!(message, text[..output.len()]);
    }
}

/// The examples of at least two blocks; Wrap tokens always have as many.
#[test]
fn encryption_gives_the_values_of_rfc_8009_a() {
    let short = (
        "3705d96080c17728a0e800eab6e0d23c",
        [
            (
                6,
                "7bca285e2fd4130fb55b1a5c83bc5b24",
                "84d7f30754ed987bab0bf3506beb09cfb55402cef7e6",
                "877ce99e247e52d16ed4421dfdf8976c",
            ),
            (
                16,
                "56ab21713ff62c0a1457200f6fa9948f",
                "3517d640f50ddc8ad3628722b3569d2ae07493fa8263254080ea65c1008e8fc2",
                "95fb4852e7d83e1e7c48c37eebe6b0d3",
            ),
            (
                21,
                "a7a4e29a4728ce10664fb64e49ad3fac",
                "720f73b18d9859cd6ccb4346115cd336c70f58edc0c4437c5573544c31c813bce1e6d072c1",
                "86b39a413c2f92ca9b8334a287ffcbfc",
            ),
        ],
    );
    let long = (
        "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52",
        [
            (
                6,
                "b80d3251c1f6471494256ffe712d0b9a",
                "4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9",
                "f559c7f664f69eab7b6092237526ea0d1f61cb20d69d10f2",
            ),
            (
                16,
                "53bf8a0d105265d4e276428624ce5e63",
                "bc47ffec7998eb91e8115cf8d19dac4bbbe2e163e87dd37f49beca92027764f6",
                "8cf51f14d798c2273f35df574d1f932e40c4ff255b36a266",
            ),
            (
                21,
                "763e65367e864f02f55153c7e3b58af1",
                "40013e2df58e8751957d2878bcd2d6fe101ccfd556cb1eae79db3c3ee86429f2b2a602ac86",
                "fef6ecb647d6295fae077a1feb517508d2c16b4192e01f62",
            ),
        ],
    );
    check_examples(Enctype::Aes128Sha256, short);
    check_examples(Enctype::Aes256Sha384, long);
}

/// A base key, and lengths of plaintexts with confounder, ciphertext and checksum.
type Examples = (&'static str, [(u8, &'static str, &'static str, &'static str); 3]);

fn check_examples(enctype: Enctype, (key, examples): Examples) {
    let keys = SealKeys::for_usage(enctype, &bytes(key), 2).unwrap();
    for (length, confounder, ciphertext, checksum) in examples {
        let mut message: Vec<u8> = (0..length).collect();
        let (mut first, mut found) = (bytes(confounder), Vec::new());
        keys.encrypt(&mut [&mut first, &mut message], &mut found);
        assert_eq!(
            ([&first[..], &message].concat(), &found),
            (bytes(ciphertext), &bytes(checksum)),
            "{enctype}"
        );
        keys.decrypt(&mut [&mut first, &mut message], &found).unwrap();
        assert_eq!((first, message), (bytes(confounder), (0..length).collect()));
    }
}

const KINDS: [Protection; 2] = [Protection::Confidentiality, Protection::Integrity];

fn made(keys: &WrapKeys, kind: Protection, message: &[u8], sequence: u64) -> Vec<u8> {
    match kind {
        Protection::Confidentiality => keys.seal(message, sequence).unwrap(),
        Protection::Integrity => keys.protect(message, sequence).unwrap(),
    }
}

/// The error for a good token after `change`.
fn refusal(kind: Protection, change: impl FnOnce(&mut Vec<u8>)) -> WrapError {
    let (initiator, acceptor) = ends(Enctype::Aes256Sha384, KeyOrigin::AcceptorSubkey);
    let mut token = made(&initiator, kind, b"message", 7);
    change(&mut token);
    acceptor.unseal(&token).unwrap_err()
}

#[test]
fn every_offence_has_its_own_error_and_status() {
    for kind in KINDS {
        assert_eq!(refusal(kind, |token| token.truncate(15)), WrapError::Short(15));
        assert_eq!(refusal(kind, |token| token.truncate(20)), WrapError::Short(20));
        assert_eq!(refusal(kind, |token| token[1] = 5), WrapError::Id([5, 5]));
        assert_eq!(refusal(kind, |token| token[2] ^= 0x01), WrapError::OwnEnd);
        assert_eq!(refusal(kind, |token| token[2] ^= 0x04), WrapError::Subkey);
        assert_eq!(refusal(kind, |token| token[3] = 0), WrapError::FillerByte);
        assert_eq!(refusal(kind, |token| token[15] ^= 1), WrapError::Mismatch, "the number");
        assert_eq!(refusal(kind, |token| token[2] |= 0x80), WrapError::Mismatch, "an unknown flag");
        assert_eq!(refusal(kind, |token| *token.last_mut().unwrap() ^= 1), WrapError::Mismatch);
    }
    assert_eq!(refusal(Protection::Integrity, |token| token[5] = 23), WrapError::ExtraCount(23));
    assert_eq!(
        refusal(Protection::Confidentiality, |token| token[5] = 1),
        WrapError::Mismatch,
        "the header inside says 0"
    );
    assert_eq!(
        refusal(Protection::Confidentiality, |token| token[2] ^= 0x02),
        WrapError::ExtraCount(0),
        "sealed is not signed"
    );
    assert_eq!(WrapError::Mismatch.gss_major(), GSS_S_BAD_SIG);
    assert_eq!(WrapError::ExtraCount(0).gss_major(), GSS_S_DEFECTIVE_TOKEN);
}

#[test]
fn our_own_token_sent_back_is_refused() {
    let (initiator, _) = ends(Enctype::Aes128Sha1, KeyOrigin::Initiator);
    let token = initiator.seal(b"message", 1).unwrap();
    assert_eq!(initiator.unseal(&token).unwrap_err(), WrapError::OwnEnd);
}

#[test]
fn two_tokens_for_one_message_and_number_differ() {
    let (initiator, _) = ends(Enctype::Aes128Sha1, KeyOrigin::Initiator);
    assert_ne!(initiator.seal(b"message", 1).unwrap(), initiator.seal(b"message", 1).unwrap());
}

/// Some implementations rotate, as by the length of what would be the trailer.
#[test]
fn a_rotated_token_is_read_by_whatever_it_is_rotated() {
    for (enctype, kind) in ENCTYPES.into_iter().flat_map(|enctype| KINDS.map(|kind| (enctype, kind))) {
        let (initiator, acceptor) = ends(enctype, KeyOrigin::AcceptorSubkey);
        let token = made(&initiator, kind, b"a message", 3);
        let length = token.len() - HEADER;
        for rotation in (0..=2 * length).chain([usize::from(u16::MAX)]) {
            let mut rotated = token.clone();
            rotated[6..8].copy_from_slice(&u16::try_from(rotation).unwrap().to_be_bytes());
            rotated[HEADER..].rotate_right(rotation % length);
            assert_eq!(*acceptor.unseal(&rotated).unwrap().message, *b"a message", "{enctype} by {rotation}");
        }
    }
}

/// EC bytes after the message, which an initiator may use to fill up.
fn sealed_with_extra(keys: &WrapKeys, message: &[u8], extra: u16) -> Vec<u8> {
    let flags = token_flags(keys.role, keys.origin) | SEALED;
    let header = WrapHeader { extra, ..WrapHeader::new(flags, 9) }.bytes();
    let mut inside = [&[0xc0; BLOCK][..], message, &vec![0xff; extra.into()], &header].concat();
    let mut checksum = Vec::new();
    keys.own.encrypt(&mut [&mut inside], &mut checksum);
    [&header[..], &inside, &checksum].concat()
}

#[test]
fn bytes_after_the_message_are_taken_off_and_too_many_refused() {
    for enctype in ENCTYPES {
        let (initiator, acceptor) = ends(enctype, KeyOrigin::AcceptorSubkey);
        for extra in [0, 1, 15, 16, 17, 300] {
            let token = sealed_with_extra(&initiator, b"message", extra);
            assert_eq!(*acceptor.unseal(&token).unwrap().message, *b"message");
            let (head, rest) = token.split_at(HEAD);
            let (mut message, tail) = (rest[..7].to_vec(), &rest[7..]);
            assert_eq!(acceptor.unseal_in_place(head, &mut [&mut message], tail), Ok(9));
            assert_eq!(message, b"message");
        }
        // A peer that says there is more of it than there is anything.
        let flags = token_flags(initiator.role, initiator.origin) | SEALED;
        let header = WrapHeader { extra: 8, ..WrapHeader::new(flags, 9) }.bytes();
        let mut inside = [&[0; BLOCK][..], b"message", &header].concat();
        let mut checksum = Vec::new();
        initiator.own.encrypt(&mut [&mut inside], &mut checksum);
        let token = [&header[..], &inside, &checksum].concat();
        assert_eq!(acceptor.unseal(&token).unwrap_err(), WrapError::ExtraCount(8));
    }
}

#[test]
fn what_is_not_a_whole_sealed_message_in_pieces_is_refused_and_erased() {
    let (initiator, acceptor) = ends(Enctype::Aes128Sha256, KeyOrigin::Initiator);
    let mut sealed = *b"a message in a buffer";
    let affixes = initiator.seal_in_place(&mut [&mut sealed], 5).unwrap();
    let refused = |head: &[u8], message: &[u8], tail: &[u8]| {
        let mut message = message.to_vec();
        let error = acceptor.unseal_in_place(head, &mut [&mut message], tail).unwrap_err();
        assert!(message.iter().all(|&byte| byte == 0), "{message:x?} after {error}");
        error
    };
    let (head, tail) = (affixes.head(), affixes.tail());
    let changed = |at: usize, to: u8| {
        let mut head = head.to_vec();
        head[at] = to;
        head
    };
    assert_eq!(refused(&head[..31], &sealed, tail), WrapError::Pieces { head: 31, tail: 32 });
    assert_eq!(refused(head, &sealed, &tail[1..]), WrapError::Pieces { head: 32, tail: 31 });
    assert_eq!(refused(&changed(5, 1), &sealed, tail), WrapError::Pieces { head: 32, tail: 32 });
    assert_eq!(refused(&changed(7, 1), &sealed, tail), WrapError::Rotated(1));
    assert_eq!(refused(&changed(2, 0), &sealed, tail), WrapError::NotSealed);
    assert_eq!(refused(&changed(20, 1), &sealed, tail), WrapError::Mismatch);
    assert_eq!(refused(head, &sealed[1..], tail), WrapError::Mismatch);
    assert_eq!(acceptor.unseal_in_place(head, &mut [&mut sealed], tail), Ok(5));
    assert_eq!(&sealed, b"a message in a buffer");
}

fn enctypes() -> impl Strategy<Value = Enctype> {
    prop::sample::select(&ENCTYPES[..])
}

fn origins() -> impl Strategy<Value = KeyOrigin> {
    prop::sample::select(&[KeyOrigin::Initiator, KeyOrigin::AcceptorSubkey][..])
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]
}

/// `message` cut at these places, in order.
fn cut<'a>(mut message: &'a mut [u8], cuts: &[usize]) -> Vec<&'a mut [u8]> {
    let mut pieces = Vec::new();
    for &cut in cuts {
        let (piece, rest) = message.split_at_mut(cut.min(message.len()));
        pieces.push(piece);
        message = rest;
    }
    pieces.push(message);
    pieces
}

proptest! {
    #[test]
    fn the_other_end_gets_message_and_number(
        enctype in enctypes(), origin in origins(), sequence in numbers(),
        message in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (initiator, acceptor) = ends(enctype, origin);
        for (from, to) in [(&initiator, &acceptor), (&acceptor, &initiator)] {
            let sealed = from.seal(&message, sequence).unwrap();
            prop_assert_eq!(sealed.len(), message.len() + HEAD + HEADER + checksum_length(enctype));
            let opened = to.unseal(&sealed).unwrap();
            prop_assert_eq!((&*opened.message, opened.sequence), (&message, sequence));
            prop_assert_eq!(opened.protection, Protection::Confidentiality);
            let signed = from.protect(&message, sequence).unwrap();
            let opened = to.unseal(&signed).unwrap();
            prop_assert_eq!((&*opened.message, opened.sequence), (&message, sequence));
            prop_assert_eq!(opened.protection, Protection::Integrity);
        }
    }

    #[test]
    fn however_a_message_is_cut_it_is_sealed_alike(
        enctype in enctypes(), cuts in prop::collection::vec(0_usize..40, 0..12),
        message in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (initiator, acceptor) = ends(enctype, KeyOrigin::AcceptorSubkey);
        let (mut whole, mut parts) = (message.clone(), message.clone());
        let affixes = initiator.seal_with([0xcf; BLOCK], &mut [&mut whole], 1);
        let same = initiator.seal_with([0xcf; BLOCK], &mut cut(&mut parts, &cuts), 1);
        prop_assert_eq!((&affixes, &whole), (&same, &parts));
        let token = [affixes.head(), &whole, affixes.tail()].concat();
        prop_assert_eq!(&*acceptor.unseal(&token).unwrap().message, &message);
        let opened = acceptor.unseal_in_place(same.head(), &mut cut(&mut parts, &cuts), same.tail());
        prop_assert_eq!((opened, parts), (Ok(1), message));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed(
        enctype in enctypes(), kind in prop::sample::select(&KINDS[..]), bit in 0_u8..8, place: prop::sample::Index,
        message in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (initiator, acceptor) = ends(enctype, KeyOrigin::Initiator);
        let mut token = made(&initiator, kind, &message, 9);
        let place = place.index(token.len());
        token[place] ^= 1 << bit;
        let opened = acceptor.unseal(&token);
        // RRC is not protected; a rotation by a multiple of the length is none.
        let is_rotation = (6..8).contains(&place);
        prop_assert!(opened.is_err() || is_rotation && *opened.unwrap().message == message);
    }

    #[test]
    fn a_token_cut_or_lengthened_is_refused(
        enctype in enctypes(), kind in prop::sample::select(&KINDS[..]), kept: prop::sample::Index, more in 1_usize..40,
        message in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (initiator, acceptor) = ends(enctype, KeyOrigin::AcceptorSubkey);
        let token = made(&initiator, kind, &message, 9);
        prop_assert!(acceptor.unseal(&token[..kept.index(token.len())]).is_err());
        prop_assert!(acceptor.unseal(&[&token[..], &vec![0; more]].concat()).is_err());
    }
}
