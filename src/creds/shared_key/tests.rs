#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::key::{EXPIRE_MAXIMUM, EXPIRE_MINIMUM, KeyMismatch, MGS_NIDS_LIMIT, SECRET_LIMIT};
use super::*;
use crate::crypto::prime_size::PRIME_LIMIT;
use crate::nid::Nid;
use crate::secret::Secret;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// Where each field of the binary form begins.
const HMAC: usize = 4;
const CIPHER: usize = 6;
const EXPIRE: usize = 8;
const SECRET_BITS: usize = 12;
const PRIME_BITS: usize = 16;
const TYPES: usize = 20;
const NIDS: usize = 21;
const FILE_SYSTEM: usize = 149;
const NODEMAP: usize = 214;

fn captured() -> Value {
    serde_json::from_str(include_str!("../../../tests/golden/lustre-shared-key.json")).unwrap()
}

fn captured_bytes() -> Vec<u8> {
    let captured = captured();
    let hex = captured["key"].as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The captured key with other bytes at a place.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = captured_bytes();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

/// A key of which there is everything.
fn parts() -> KeyParts {
    KeyParts {
        hmac: HmacAlgorithm::Sha512,
        cipher: CipherAlgorithm::Null,
        expire: 3600,
        types: KeyTypes { client: true, server: false, mgs: true },
        mgs_nids: vec!["10.0.0.1@tcp".parse().unwrap(), "10.0.0.1@o2ib3".parse().unwrap()],
        file_system: "scratch".into(),
        nodemap: "guests".into(),
        secret: Secret::new(vec![7; 64]),
        prime_bits: 512,
        prime: Some(vec![0xfb; 64]),
    }
}

fn changed(change: impl FnOnce(&mut KeyParts)) -> Result<SharedKey, SharedKeyError> {
    let mut parts = parts();
    change(&mut parts);
    SharedKey::new(parts)
}

/// By a key that Lustre's tool wrote (tests/golden).
#[test]
fn the_form_is_lustres_byte_for_byte() {
    let bytes = captured_bytes();
    assert_eq!(bytes.len(), LENGTH);
    let key = SharedKey::decode(&bytes).unwrap();
    assert_eq!((key.hmac, key.cipher), (HmacAlgorithm::Sha256, CipherAlgorithm::Aes256Ctr));
    assert_eq!((key.expire, key.secret.len(), key.prime_bits), (604_800, 32, 2048));
    assert_eq!(key.types, KeyTypes { client: true, server: false, mgs: false });
    assert_eq!((key.file_system.as_str(), key.nodemap.as_str()), ("lustre", "default"));
    assert!(key.mgs_nids.is_empty());
    assert_eq!(key.prime().map(|prime| (prime.len(), prime[0], prime[255])), Some((256, 0x9e, 0x87)));
    assert_eq!(key.encode().expose(), bytes);
}

#[test]
fn a_captured_key_serves_the_targets_of_its_mount() {
    let key = SharedKey::decode(&captured_bytes()).unwrap();
    for mounted in captured()["targets"].as_array().unwrap() {
        let (target, client) = (mounted["target"].as_str().unwrap(), mounted["client"].as_str());
        assert_eq!(key.serves(target), Ok(()));
        assert_eq!(candidates(target, client).last().unwrap(), "lustre:lustre");
    }
}

#[test]
fn a_key_serves_its_file_system_and_its_management_servers_only() {
    let key = SharedKey::new(parts()).unwrap();
    for target in ["scratch-MDT0000-mdc-ff2d", "scratch", "MGC10.0.0.1@tcp", "MGC10.0.0.1@o2ib3"] {
        assert_eq!(key.serves(target), Ok(()), "{target}");
    }
    assert_eq!(key.serves("scratch2-MDT0000-mdc-ff2d"), Err(KeyMismatch::OtherFileSystem("scratch".into())));
    for target in ["MGC10.0.0.2@tcp", "MGC10.0.0.1@o2ib", "MGC", "MGCscratch"] {
        assert_eq!(key.serves(target), Err(KeyMismatch::OtherMgs(parts().mgs_nids)), "{target}");
    }
    let words = key.serves("MGC10.0.0.2@tcp").unwrap_err().to_string();
    assert_eq!(words, "it is for the MGS 10.0.0.1@tcp, 10.0.0.1@o2ib3");
    let without_mgs = changed(|parts| parts.mgs_nids.clear()).unwrap();
    assert_eq!(without_mgs.serves("MGC10.0.0.1@tcp"), Err(KeyMismatch::NoMgs));
    let servers = KeyTypes { client: false, server: true, mgs: true };
    let of_server = changed(|parts| parts.types = servers).unwrap();
    assert_eq!(of_server.serves("scratch-MDT0000"), Err(KeyMismatch::OtherType(servers)));
    assert!(of_server.serves("scratch-MDT0000").unwrap_err().to_string().contains("server,mgs"));
    let without_prime = changed(|parts| parts.prime = None).unwrap();
    assert_eq!(without_prime.serves("scratch-MDT0000"), Err(KeyMismatch::NoPrime));
}

#[test]
fn a_key_for_servers_names_the_length_of_a_prime_and_has_none() {
    let mut bytes = with(TYPES, &[2]);
    bytes[LENGTH - PRIME_LIMIT..].fill(0);
    let key = SharedKey::decode(&bytes).unwrap();
    assert_eq!((key.prime(), key.prime_bits), (None, 2048));
    assert_eq!(key.encode().expose(), bytes);
}

#[test]
fn each_offence_in_the_bytes_has_its_own_words() {
    let all_x = [b'x'; 65];
    for (bytes, offence) in [
        (Vec::new(), SharedKeyError::Length(0)),
        (captured_bytes()[1..].to_vec(), SharedKeyError::Length(LENGTH - 1)),
        ([captured_bytes(), vec![0]].concat(), SharedKeyError::Length(LENGTH + 1)),
        (with(0, &[0, 0, 0, 2]), SharedKeyError::Version(2)),
        (with(HMAC, &[0, 3]), SharedKeyError::Hmac(3)),
        (with(CIPHER, &[1, 0]), SharedKeyError::Cipher(256)),
        (with(EXPIRE, &[0, 0, 0, 59]), SharedKeyError::Expire(59)),
        (with(EXPIRE, &[0x80, 0, 0, 0]), SharedKeyError::Expire(1 << 31)),
        (with(SECRET_BITS, &[0, 0, 1, 1]), SharedKeyError::SecretBits(257)),
        (with(SECRET_BITS, &[0, 0, 0, 0]), SharedKeyError::NoSecret),
        (with(SECRET_BITS, &[0, 0, 4, 8]), SharedKeyError::SecretTooLong(1032)),
        (with(SECRET_BITS, &[0xff, 0xff, 0xff, 0xf8]), SharedKeyError::SecretTooLong(u32::MAX - 7)),
        (with(PRIME_BITS, &[0, 0, 8, 4]), SharedKeyError::PrimeBits(2052)),
        (with(PRIME_BITS, &[0, 0, 0x40, 8]), SharedKeyError::PrimeTooLong(16392)),
        (with(TYPES, &[0]), SharedKeyError::NoType),
        (with(TYPES, &[9]), SharedKeyError::UnknownType(9)),
        (with(FILE_SYSTEM, &all_x), SharedKeyError::FileSystemTooLong),
        (with(FILE_SYSTEM, &[0xff, 0]), SharedKeyError::FileSystemNoText),
        (with(NODEMAP, &all_x[..17]), SharedKeyError::NodemapTooLong),
        (with(NODEMAP, &[0xc3, 0]), SharedKeyError::NodemapNoText),
    ] {
        assert_eq!(SharedKey::decode(&bytes).map(drop), Err(offence));
    }
}

#[test]
fn each_offence_in_the_parts_has_its_own_words() {
    let nid = "10.0.0.1@tcp".parse().unwrap();
    for (broken, offence) in [
        (changed(|parts| parts.types = KeyTypes::default()), SharedKeyError::NoType),
        (changed(|parts| parts.mgs_nids = vec![nid; 17]), SharedKeyError::TooManyNids(17)),
        (changed(|parts| parts.secret = Secret::new(vec![1; 129])), SharedKeyError::SecretTooLong(1032)),
        (changed(|parts| parts.prime_bits = 513), SharedKeyError::PrimeBits(513)),
        (changed(|parts| parts.prime_bits = 520), SharedKeyError::PrimeLength { named: 65, actual: 64 }),
        (changed(|parts| parts.file_system = "x".repeat(65)), SharedKeyError::FileSystemTooLong),
        (changed(|parts| parts.file_system = "a\0b".into()), SharedKeyError::FileSystemNoText),
        (changed(|parts| parts.nodemap = "x".repeat(17)), SharedKeyError::NodemapTooLong),
        (changed(|parts| parts.nodemap = "\0".into()), SharedKeyError::NodemapNoText),
    ] {
        assert_eq!(broken.map(drop), Err(offence));
    }
    assert!(changed(|parts| parts.mgs_nids = vec![nid; 16]).is_ok());
}

#[test]
fn unused_places_for_nids_may_stand_between_used_ones() {
    let nid: Nid = "10.0.0.1@tcp".parse().unwrap();
    let key = SharedKey::decode(&with(NIDS + 8, &nid.raw().to_be_bytes())).unwrap();
    assert_eq!(key.mgs_nids, [nid]);
}

#[test]
fn debug_output_shows_no_byte_of_the_secret() {
    let key = changed(|parts| parts.secret = Secret::new(b"sesame".to_vec())).unwrap();
    let shown = format!("{key:?} {key:#?}");
    assert!(shown.contains("Secret(6 bytes)") && !shown.contains("115, 101"), "{shown}");
}

#[test]
fn algorithms_have_the_names_of_the_kernel_and_lengths_of_their_keys() {
    let hmacs = HmacAlgorithm::ALL.map(|hmac| (hmac.number(), hmac.kernel_name(), hmac.digest_length()));
    assert_eq!(hmacs, [(0, "null", 0), (1, "sha256", 32), (2, "sha512", 64)]);
    let ciphers =
        CipherAlgorithm::ALL.map(|cipher| (cipher.number(), cipher.kernel_name(), cipher.key_length()));
    assert_eq!(ciphers, [(0, "null", 0), (1, "ctr(aes)", 32)]);
}

fn any_parts() -> impl Strategy<Value = KeyParts> {
    let algorithms = (0..3usize, 0..2usize, EXPIRE_MINIMUM..=EXPIRE_MAXIMUM, 1..8u8);
    let nids = vec(any::<u64>().prop_filter("any is unused", |&raw| raw != u64::MAX), 0..=MGS_NIDS_LIMIT);
    let names = ("[^\0]{0,16}", "[^\0]{0,4}");
    let keys = (vec(any::<u8>(), 1..=SECRET_LIMIT), vec(any::<u8>(), 0..=PRIME_LIMIT), any::<bool>());
    (algorithms, nids, names, keys).prop_map(|(algorithms, nids, names, (secret, prime, has_prime))| {
        let is_prime = has_prime && prime.iter().any(|&byte| byte != 0);
        KeyParts {
            hmac: HmacAlgorithm::ALL[algorithms.0],
            cipher: CipherAlgorithm::ALL[algorithms.1],
            expire: algorithms.2,
            types: KeyTypes::of_number(algorithms.3).unwrap(),
            mgs_nids: nids.into_iter().map(Nid::from_raw).collect(),
            file_system: names.0,
            nodemap: names.1,
            secret: Secret::new(secret),
            prime_bits: kinds::bits(prime.len()),
            prime: is_prime.then_some(prime),
        }
    })
}

fn same(one: &SharedKey, other: &SharedKey) -> bool {
    let rest = |key: &SharedKey| format!("{key:?}");
    rest(one) == rest(other) && one.secret.expose() == other.secret.expose()
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_to_the_same_key_in_both_forms(parts in any_parts()) {
        let key = SharedKey::new(parts).unwrap();
        let bytes = key.encode();
        let decoded = SharedKey::decode(bytes.expose()).unwrap();
        prop_assert!(same(&decoded, &key));
        let again = decoded.encode();
        prop_assert_eq!(again.expose(), bytes.expose());
        #[cfg(feature = "tools")]
        {
            let text = key.to_text();
            let decoded = SharedKey::from_text(text.expose()).unwrap();
            prop_assert!(same(&decoded, &key));
            let again = decoded.to_text();
            prop_assert_eq!(again.expose(), text.expose());
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(bytes in vec(any::<u8>(), 0..=LENGTH + 1)) {
        let _ = SharedKey::decode(&bytes);
        #[cfg(feature = "tools")]
        {
            let _ = SharedKey::from_text(&bytes);
            let _ = SharedKey::from_text(&[&b"Lustre SSK v1.0\n"[..], &bytes].concat());
        }
    }

    #[test]
    fn a_key_with_any_other_byte_is_decoded_or_refused_without_a_panic(at in 0..LENGTH, byte: u8) {
        let changed = with(at, &[byte]);
        if let Ok(key) = SharedKey::decode(&changed) {
            prop_assert!(same(&SharedKey::decode(key.encode().expose()).unwrap(), &key));
        }
    }
}

#[cfg(feature = "tools")]
mod text {
    use super::*;

    #[test]
    fn the_text_form_is_a_line_and_base64url_without_padding() {
        let key = SharedKey::new(parts()).unwrap();
        let text = key.to_text();
        let text = std::str::from_utf8(text.expose()).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!((first, rest.len()), ("Lustre SSK v1.0", (LENGTH * 4).div_ceil(3) + 1));
        let digits = rest.strip_suffix('\n').unwrap();
        assert!(digits.bytes().all(|digit| digit.is_ascii_alphanumeric() || b"-_".contains(&digit)));
        assert!(SharedKey::is_text(text.as_bytes()) && !SharedKey::is_text(key.encode().expose()));
    }

    #[test]
    fn line_breaks_and_padding_of_other_programs_do_no_harm() {
        let key = SharedKey::new(parts()).unwrap();
        let text = String::from_utf8(key.to_text().expose().to_vec()).unwrap();
        let (first, digits) = text.trim_end().split_once('\n').unwrap();
        let lines: Vec<&str> =
            digits.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        for text in [
            format!("{first}\n{digits}"),
            format!("{first}\r\n{}\r\n", lines.join("\r\n")),
            format!("{first}\n{digits}=\n"),
        ] {
            assert!(same(&SharedKey::from_text(text.as_bytes()).unwrap(), &key));
        }
    }

    #[test]
    fn each_offence_in_the_text_has_its_own_words() {
        for (text, offence) in [
            (&b""[..], TextFormError::NoFirstLine),
            (b"Lustre SSK v1.1\nAAAA", TextFormError::NoFirstLine),
            (b"Lustre SSK v1.0AAAA", TextFormError::NoFirstLine),
            (b"Lustre SSK v1.0\nA+/A", TextFormError::NoBase64),
            (b"Lustre SSK v1.0\nAAAA", TextFormError::Content(SharedKeyError::Length(3))),
            (b"Lustre SSK v1.0\n", TextFormError::Content(SharedKeyError::Length(0))),
        ] {
            assert_eq!(SharedKey::from_text(text).map(drop), Err(offence));
        }
    }
}
