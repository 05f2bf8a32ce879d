//! Known answers: RFC 3961 A.1, RFC 3962 B, RFC 8009 A, MIT Kerberos's own tests and tokens that MIT Kerberos made.

use super::enctype::Enctype::{self, Aes128Sha1, Aes128Sha256, Aes256Sha1, Aes256Sha384};
use super::kdf::{KeyLength, KeyPurpose, derive, dk, dr, n_fold};
use super::keyed_hash::{KeyedHash, checksum_length};
use super::mic::{KeyOrigin, MicKeys, Role};
use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

#[test]
fn n_fold_gives_the_values_of_rfc_3961_a1() {
    fn fold<const N: usize>(input: &str, output: &str) {
        assert_eq!(n_fold::<N>(input.as_bytes())[..], bytes(output), "{}-fold({input})", 8 * N);
    }
    fold::<8>("012345", "be072631 276b1955");
    fold::<7>("password", "78a07b6c af85fa");
    fold::<8>("Rough Consensus, and Running Code", "bb6ed308 70b7f0e0");
    fold::<21>("password", "59e4a8ca 7c0385c3 c37b3f6d 2000247c b6e6bd5b 3e");
    fold::<24>(
        "MASSACHVSETTS INSTITVTE OF TECHNOLOGY",
        "db3b0d8f 0b061e60 3282b308 a5084122 9ad798fa b9540c1b",
    );
    fold::<21>("Q", "518a54a2 15a8452a 518a54a2 15a8452a 518a54a2 15");
    fold::<21>("ba", "fb25d531 ae897449 9f52fd92 ea9857c4 ba24cf29 7e");
    fold::<8>("kerberos", "6b657262 65726f73");
    fold::<16>("kerberos", "6b657262 65726f73 7b9b5b2b 93132b93");
    fold::<21>("kerberos", "8372c236 344e5f15 50cd0747 e15d62ca 7a5a3bce a4");
    fold::<32>("kerberos", "6b657262 65726f73 7b9b5b2b 93132b93 5c9bdcda d95c9899 c4cae4de e6d6cae4");
}

#[test]
fn dk_turns_pbkdf2_output_into_the_keys_of_rfc_3962_b() {
    let athena = b"ATHENA.MIT.EDUraeburn";
    keys_from(
        (b"password", athena, 1),
        "42263c6e 89f4fc28 b8df68ee 09799f15",
        "fe697b52 bc0d3ce1 4432ba03 6a92e65b bb522809 90a2fa27 883998d7 2af30161",
    );
    keys_from(
        (b"password", athena, 2),
        "c651bf29 e2300ac2 7fa469d6 93bdda13",
        "a2e16d16 b36069c1 35d5e9d2 e25f8961 02685618 b95914b4 67c67622 225824ff",
    );
    keys_from(
        (b"password", athena, 1200),
        "4c01cd46 d632d01e 6dbe230a 01ed642a",
        "55a6ac74 0ad17b48 46941051 e1e8b0a7 548d93b0 ab30a8bc 3ff16280 382b8c2a",
    );
    keys_from(
        (b"password", b"\x12\x34\x56\x78\x78\x56\x34\x12", 5),
        "e9b23d52 273747dd 5c35cb55 be619d8e",
        "97a4e786 be20d81a 382d5ebc 96d5909c abcdadc8 7ca48f57 4504159f 16c36e31",
    );
    keys_from(
        (&[b'X'; 64], b"pass phrase equals block size", 1200),
        "59d1bb78 9a828b1a a54ef9c2 883f69ed",
        "89adee36 08db8bc7 1f1bfbfe 459486b0 5618b70c bae22092 534e56c5 53ba4b34",
    );
    keys_from(
        (&[b'X'; 65], b"pass phrase exceeds block size", 1200),
        "cb8005dc 5f90179a 7f02104c 0018751d",
        "d78c5c9c b872a8c9 dad4697f 0bb5b2d2 1496c82b eb2caeda 2112fcee a057401b",
    );
    keys_from(
        (b"\xf0\x9d\x84\x9e", b"EXAMPLE.COMpianist", 50),
        "f149c1f2 e154a734 52d43e7f e62a56e5",
        "4b6d9839 f84406df 1f09cc16 6db4b83c 571848b7 84a3d6bd c346589a 3e393f9e",
    );
}

/// Checks the 128-bit and the 256-bit key of a pass phrase, salt and number of iterations (RFC 3962 §4).
fn keys_from((phrase, salt, iterations): (&[u8], &[u8], u32), key_128: &str, key_256: &str) {
    for (enctype, key) in [(Aes128Sha1, key_128), (Aes256Sha1, key_256)] {
        let seed = pbkdf2(phrase, salt, iterations, enctype.key_length());
        assert_eq!(dr(enctype, &seed, b"kerberos").unwrap().expose(), bytes(key), "{enctype} {iterations}");
    }
}

fn pbkdf2(phrase: &[u8], salt: &[u8], iterations: u32, length: usize) -> Vec<u8> {
    let prf = |input: &[u8]| Hmac::<Sha1>::new_from_slice(phrase).unwrap().chain_update(input).finalize();
    (1_u32..3)
        .flat_map(|block| {
            let mut hash = prf(&[salt, &block.to_be_bytes()].concat()).into_bytes();
            let mut sum = hash;
            for _ in 1..iterations {
                hash = prf(&hash).into_bytes();
                sum.iter_mut().zip(hash).for_each(|(sum, byte)| *sum ^= byte);
            }
            sum
        })
        .take(length)
        .collect()
}

const BASE_17: &str = "42263c6e 89f4fc28 b8df68ee 09799f15";
const BASE_18: &str = "fe697b52 bc0d3ce1 4432ba03 6a92e65b bb522809 90a2fa27 883998d7 2af30161";
const BASE_19: &str = "3705d960 80c17728 a0e800ea b6e0d23c";
const BASE_20: &str = "6d404d37 faf79f9d f0d33568 d3206698 00eb4836 472ea8a0 26d16b71 82460c52";

#[test]
fn the_keys_of_sha1_types_are_those_of_mit_t_derive() {
    let usage_2 = |enctype, base, kind, key| {
        assert_eq!(derive(enctype, &bytes(base), 2, kind).unwrap().expose(), &bytes(key));
    };
    usage_2(Aes128Sha1, BASE_17, KeyPurpose::Checksum, "34280a38 2bc92769 b2da2f9e f066854b");
    usage_2(Aes128Sha1, BASE_17, KeyPurpose::Encryption, "5b14fc4e 250e14dd f9dccf1a f6674f53");
    usage_2(Aes128Sha1, BASE_17, KeyPurpose::Integrity, "4ed31063 621684f0 9ae8d899 91af3e8f");
    usage_2(
        Aes256Sha1,
        BASE_18,
        KeyPurpose::Checksum,
        "bfab388b dcb238e9 f9c98d6a 878304f0 4d30c825 56375ac5 07a7a852 790f4674",
    );
    usage_2(
        Aes256Sha1,
        BASE_18,
        KeyPurpose::Encryption,
        "c7cfd9cd 75fe793a 586a542d 87e0d139 6f1134a1 04bb1a91 90b8c90a da3ddf37",
    );
    usage_2(
        Aes256Sha1,
        BASE_18,
        KeyPurpose::Integrity,
        "97151b4c 76945063 e2eb0529 dc067d97 d7bba907 76d8126d 91f34f31 01aea8ba",
    );
}

#[test]
fn the_keys_of_sha2_types_are_those_of_rfc_8009_a() {
    let usage_2 = |enctype, base, kind, key| {
        assert_eq!(derive(enctype, &bytes(base), 2, kind).unwrap().expose(), &bytes(key));
    };
    usage_2(Aes128Sha256, BASE_19, KeyPurpose::Checksum, "b31a018a 48f54776 f403e9a3 96325dc3");
    usage_2(Aes128Sha256, BASE_19, KeyPurpose::Encryption, "9b197dd1 e8c5609d 6e67c3e3 7c62c72e");
    usage_2(Aes128Sha256, BASE_19, KeyPurpose::Integrity, "9fda0e56 ab2d85e1 569a6886 96c26a6c");
    usage_2(
        Aes256Sha384,
        BASE_20,
        KeyPurpose::Checksum,
        "ef5718be 86cc8496 3d8bbb50 31e9f5c4 ba41f28f af69e73d",
    );
    usage_2(
        Aes256Sha384,
        BASE_20,
        KeyPurpose::Encryption,
        "56ab22be e63d82d7 bc5227f6 773f8ea7 a5eb1c82 5160c383 12980c44 2e5c7e49",
    );
    usage_2(
        Aes256Sha384,
        BASE_20,
        KeyPurpose::Integrity,
        "69b16514 e3cd8e56 b82010d5 c73012b6 22c4d00f fc23ed1f",
    );
}

/// RFC 8009 A for the SHA-2 types, t_cksums of MIT Kerberos for the SHA-1 types.
#[test]
fn checksums_are_the_published_ones() {
    let counting: Vec<u8> = (0..=0x14).collect();
    let cases: [(Enctype, u32, &str, &[u8], &str); 4] = [
        (
            Aes128Sha1,
            3,
            "9062430c 8cda3388 922e6d6a 509f5b7a",
            b"eight nine ten eleven twelve thirteen",
            "01a4b088 d45628f6 946614e3",
        ),
        (
            Aes256Sha1,
            4,
            "b1ae4cd8 462aff16 77053cc9 279aac30 b796fb81 ce21474d d3ddbcfe a4ec76d7",
            b"fourteen",
            "e08739e3 279e2903 ec8e3836",
        ),
        (Aes128Sha256, 2, BASE_19, &counting, "d7836718 6643d67b 411cba91 39fc1dee"),
        (Aes256Sha384, 2, BASE_20, &counting, "45ee7915 67eefca3 7f4ac1e0 222de80d 43c3bfa0 6699672a"),
    ];
    for (enctype, usage, base, message, checksum) in cases {
        let kc = derive(enctype, &bytes(base), usage, KeyPurpose::Checksum).unwrap();
        let mut hash = KeyedHash::new(enctype, kc.expose());
        hash.update(message);
        assert_eq!(hash.leftmost(checksum_length(enctype)).expose(), &bytes(checksum), "{enctype}");
    }
}

/// Keys of a throw-away realm and tokens signed by MIT Kerberos 1.20.1. `tests/tokens_mit.rs` does the same with new ones each
/// time.
#[test]
fn tokens_for_the_same_sequence_number_are_those_of_mit() {
    use Role::{Acceptor, Initiator};
    let mit_signed = |enctype, signer, key, sequence, token| {
        let keys =
            MicKeys::new(enctype, &Secret::new(bytes(key)), KeyOrigin::AcceptorSubkey, signer).unwrap();
        assert_eq!(keys.sign(b"message", sequence), bytes(token), "{enctype} {signer:?}");
    };
    let key = "c29bc40b 82b53ee5 298bd546 c2482d10";
    let token = "040404ff ffffffff 00000000 2d9ed3f2 00fa17c2 eed3af2f 01e4222f";
    mit_signed(Aes128Sha1, Initiator, key, 0x2d9e_d3f2, token);
    let token = "040405ff ffffffff 00000000 3eeefed9 7fc0e903 20685088 bd23ff3e";
    mit_signed(Aes128Sha1, Acceptor, key, 0x3eee_fed9, token);

    let key = "41b587c5 a7a59672 341a5f57 7c6fcc82 45f9ac28 55d4d356 c46e8eca c6a583a7";
    let token = "040404ff ffffffff 00000000 21d93eb2 13013ef6 0ab5190b 1db35bc5";
    mit_signed(Aes256Sha1, Initiator, key, 0x21d9_3eb2, token);
    let token = "040405ff ffffffff 00000000 3b07f650 888aad65 cbe07621 88ad8c7d";
    mit_signed(Aes256Sha1, Acceptor, key, 0x3b07_f650, token);

    let key = "3596e557 92ede2b4 ab6abdb1 62b2654f";
    let token = "040404ff ffffffff 00000000 0cd6c393 a8749e22 f8813e30 064b7eeb 915b2901";
    mit_signed(Aes128Sha256, Initiator, key, 0x0cd6_c393, token);
    let token = "040405ff ffffffff 00000000 1b353485 e7fb3008 20bc8d61 7b2b847f 6e3f4cda";
    mit_signed(Aes128Sha256, Acceptor, key, 0x1b35_3485, token);

    let key = "81990c71 0f91a360 518a644d 69189e10 add799ad 2f3353d2 f70aea38 a7815c23";
    let token = "040404ff ffffffff 00000000 074199af f70b7087 675ae40f f9164a3a c0bd41a8 e84f3da6 e7271fa4";
    mit_signed(Aes256Sha384, Initiator, key, 0x0741_99af, token);
    let token = "040405ff ffffffff 00000000 0794e006 7b349478 cf9ae21b f0d4acea 28ea5385 5fb6a541 0a700d46";
    mit_signed(Aes256Sha384, Acceptor, key, 0x0794_e006, token);
}

/// Lustre derives this way for every AES type, so the type must matter only for the length.
#[test]
fn plain_dk_is_the_same_for_types_that_differ_in_the_hash() {
    let key = |enctype, base| dk(enctype, &bytes(base), 22, KeyPurpose::Encryption).unwrap();
    assert_eq!(key(Aes128Sha1, BASE_19).expose(), key(Aes128Sha256, BASE_19).expose());
    assert_eq!(key(Aes256Sha1, BASE_20).expose(), key(Aes256Sha384, BASE_20).expose());
    let standard = derive(Aes128Sha256, &bytes(BASE_19), 22, KeyPurpose::Encryption).unwrap();
    assert_ne!(key(Aes128Sha256, BASE_19).expose(), standard.expose());
}

#[test]
fn a_key_of_the_wrong_length_is_refused_by_every_derivation() {
    for enctype in [Aes128Sha1, Aes256Sha1, Aes128Sha256, Aes256Sha384] {
        for length in (0..=65).filter(|length| *length != enctype.key_length()) {
            let refusal = Some(KeyLength { enctype, length });
            assert_eq!(derive(enctype, &vec![1; length], 25, KeyPurpose::Checksum).err(), refusal);
            assert_eq!(dk(enctype, &vec![1; length], 25, KeyPurpose::Checksum).err(), refusal);
        }
    }
}

/// Hex in groups, as the RFCs print it.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}
