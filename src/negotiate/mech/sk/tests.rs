//! The mechanism against captured exchanges, a responder here, the one of tests/vm in Python, and everything that a server
//! can get wrong.

mod responder;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use openssl::bn::{BigNum, BigNumContext};
use serde_json::{Value, json};

use super::netstring::decode;
use super::*;
use crate::creds::shared_key::{CipherAlgorithm, HmacAlgorithm, KeyParts, KeyTypes};
use responder::{Drawn, Exchanged, Granted, answer_of, join, keys, power, respond, split};

const TARGET: &str = "lustre-MDT0000-mdc-ff46162242dab800";
const LEVELS: [Level; 4] = [Level::Null, Level::Authentication, Level::Integrity, Level::Privacy];
const ROOT: Roles = Roles { root: true, mdt: false, ost: false };
/// A safe prime of 512 bits.
const PRIME: &str = "fa2d267a88a1daea4e948f359a6d792144cbcce6f0c05baa21d627bd010755bc\
                     e5cb5e1f47ab197d481155a21caae0530c884a7d589a39db8144ebfec4c7478f";
const OUR_PRIVATE: [u8; 8] = [0xc3, 0x8a, 0x5d, 0x11, 0x70, 0x0e, 0x94, 0x2b];
const OUR_RANDOM: [u8; 4] = [1, 2, 3, 4];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nid() -> Nid {
    "192.168.77.2@tcp".parse().unwrap()
}

fn small() -> SafePrime {
    SafePrime::check(&bytes(PRIME)).unwrap()
}

fn shared(hmac: HmacAlgorithm, cipher: CipherAlgorithm, prime: &SafePrime) -> SharedKey {
    let parts = KeyParts {
        hmac,
        cipher,
        expire: 3600,
        types: KeyTypes { client: true, server: false, mgs: false },
        mgs_nids: Vec::new(),
        file_system: "lustre".to_owned(),
        nodemap: "guests".to_owned(),
        // Longer than a block of SHA-256, which HMAC then hashes first.
        secret: Secret::new((0..100).collect()),
        prime_bits: u32::try_from(prime.as_bytes().len() * 8).unwrap(),
        prime: Some(prime.as_bytes().to_vec()),
    };
    SharedKey::new(parts).unwrap()
}

/// The key of most tests.
fn usual(prime: &SafePrime) -> SharedKey {
    shared(HmacAlgorithm::Sha256, CipherAlgorithm::Aes256Ctr, prime)
}

fn parameters<'a>(key: &'a SharedKey, prime: &'a SafePrime) -> SkParameters<'a> {
    SkParameters { key, prime, target: TARGET, roles: ROOT, level: Level::Integrity, myself: nid() }
}

/// An exchange with known numbers.
fn known<'a>(key: &'a SharedKey, prime: &'a SafePrime) -> Sk<'a> {
    let pair = KeyPair::of(prime, &OUR_PRIVATE).unwrap();
    Sk::with(parameters(key, prime), pair, OUR_RANDOM).unwrap()
}

fn first(sk: Sk<'_>) -> (Sk<'_>, Vec<u8>) {
    match sk.step(&[]).unwrap() {
        ExchangeStep::Continue(sk, token) => (sk, token.expose().to_vec()),
        ExchangeStep::Complete(..) => panic!("complete without a server"),
    }
}

fn keys_of(sk: Sk<'_>, answer: &[u8]) -> Result<SkKeys, MechanismError> {
    match sk.step(answer)? {
        ExchangeStep::Complete(context, last) if last.is_empty() => context.into_keys(),
        _ => panic!("the server's token is the last"),
    }
}

fn drawn() -> Drawn {
    Drawn { random: [5, 6, 7, 8], private: vec![0x71; 40] }
}

fn granted(key: &SharedKey, token: &[u8]) -> Granted {
    respond((key, TARGET, nid()), token, &drawn()).unwrap()
}

/// Exchanges of a real client with a real server, with one key (tests/golden).
#[test]
fn captured_tokens_are_reproduced_and_accepted() {
    let read = |text| serde_json::from_str::<Value>(text).unwrap();
    let key = read(include_str!("../../../../tests/golden/lustre-shared-key.json"));
    let key = SharedKey::decode(&bytes(key["key"].as_str().unwrap())).unwrap();
    let prime = SafePrime::check(key.prime().unwrap()).unwrap();
    let exchanges = read(include_str!("../../../../tests/golden/lustre-sk-exchanges.json"));
    assert_eq!(exchanges.as_array().unwrap().len(), 2);
    for exchange in exchanges.as_array().unwrap() {
        let text = |name: &str| exchange[name].as_str().unwrap();
        let (sent, answered, context) =
            (bytes(text("sent")), bytes(text("answered")), bytes(text("context_token")));
        let [_, random, _, public, ..] = decode(&sent, [4, 4, 256, 256, 64, 32, 4, 32]).unwrap();
        assert_eq!((text("flags"), text("level")), ("r", "i"));
        let fields = InitiatorFields {
            random: random.try_into().unwrap(),
            prime: prime.as_bytes(),
            public,
            target: text("target"),
            nodemap: &key.nodemap,
            flags: flags(ROOT, Level::Integrity),
        };
        assert_eq!(hex(&fields.token(&key.secret).unwrap()), hex(&sent));
        let server = ResponderFields::verified(&answered, prime.as_bytes().len(), &key.secret).unwrap();
        // After version, two names of 128 bytes, and the time.
        assert_eq!([random, &server.random].concat(), context[264..272]);
        KeyPair::generate(&prime).unwrap().agree(server.public).unwrap();
    }
}

#[test]
fn both_sides_have_the_same_keys_at_every_level_with_all_algorithms() {
    let prime = small();
    for hmac in HmacAlgorithm::ALL {
        for cipher in CipherAlgorithm::ALL {
            let key = shared(hmac, cipher, &prime);
            for level in LEVELS {
                let begun = Sk::new(SkParameters { level, ..parameters(&key, &prime) });
                if (hmac, cipher) == (HmacAlgorithm::Null, CipherAlgorithm::Aes256Ctr) {
                    let error = begun.err().unwrap();
                    assert_eq!(error.fault, MechanismFault::Key);
                    assert!(error.text.contains("no HMAC algorithm"), "{error}");
                    continue;
                }
                let (sk, token) = first(begun.unwrap());
                let host_random = sk.random;
                let server = granted(&key, &token);
                let keys = keys_of(sk, &server.answer).unwrap();
                assert_eq!(keys.hmac_key.expose(), server.hmac_key, "{hmac:?} {cipher:?} {level:?}");
                assert_eq!(keys.encryption_key.expose(), server.encryption_key);
                assert_eq!(keys.hmac_key.len(), hmac.digest_length());
                let private = level == Level::Privacy;
                assert_eq!(keys.encryption_key.len(), if private { cipher.key_length() } else { 0 });
                assert_eq!((keys.host_random, keys.peer_random), (host_random, drawn().random));
            }
        }
    }
}

/// As the protocol has it (docs/formats.md): such a key authenticates contexts, but not what is said in them.
#[test]
fn without_a_cipher_every_context_has_the_same_hmac_key() {
    let prime = small();
    let made = [HmacAlgorithm::Sha256, HmacAlgorithm::Sha512].map(|hmac| {
        let key = shared(hmac, CipherAlgorithm::Null, &prime);
        let [one, other] = [0, 1].map(|_| {
            let (sk, token) = first(Sk::new(parameters(&key, &prime)).unwrap());
            keys_of(sk, &granted(&key, &token).answer).unwrap().hmac_key
        });
        assert_eq!(one.expose(), other.expose());
        one
    });
    assert_ne!(made[0].expose(), &made[1].expose()[..32]);
}

/// RFC 3526, group 14.
#[test]
fn both_sides_have_the_same_keys_with_a_prime_of_2048_bits() {
    let prime = BigNum::get_rfc3526_prime_2048().unwrap().to_vec();
    let prime = SafePrime::check(&prime).unwrap();
    let key = usual(&prime);
    let (sk, token) = first(Sk::new(parameters(&key, &prime)).unwrap());
    let server = granted(&key, &token);
    let keys = keys_of(sk, &server.answer).unwrap();
    assert_eq!(keys.hmac_key.expose(), server.hmac_key);
}

#[test]
fn the_responder_in_python_has_the_same_keys() {
    const DRIVER: &str = "
import json, sys, sk
def respond(asked):
    key = sk.SharedKey(bytes.fromhex(asked['secret']), asked['nodemap'], asked['hmac'], asked['cipher_key_size'], asked['nid'])
    answer, keys = sk.respond(key, asked['target'], bytes.fromhex(asked['token']))
    return [answer.hex(), keys.flags, keys.integrity.hex(), keys.encryption.hex()]
json.dump([respond(asked) for asked in json.load(sys.stdin)], sys.stdout)
";
    let prime = small();
    let algorithms = [HmacAlgorithm::Sha256, HmacAlgorithm::Sha512].into_iter();
    let shared: Vec<_> =
        algorithms.flat_map(|hmac| CipherAlgorithm::ALL.map(|cipher| shared(hmac, cipher, &prime))).collect();
    let begun: Vec<_> = shared
        .iter()
        .flat_map(|key| LEVELS.map(|level| (key, level)))
        .map(|(key, level)| {
            (key, level, first(Sk::new(SkParameters { level, ..parameters(key, &prime) }).unwrap()))
        })
        .collect();
    let asked = begun.iter().map(|(key, _, (_, token))| {
        json!({
            "secret": hex(key.secret.expose()), "nodemap": key.nodemap, "hmac": key.hmac.kernel_name(),
            "cipher_key_size": key.cipher.key_length(), "nid": nid().raw(), "target": TARGET, "token": hex(token),
        })
    });
    let mut python = Command::new("timeout")
        .args(["60", "python3", "-B", "-c", DRIVER])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/guest"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = Value::from_iter(asked).to_string();
    python.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let answered = python.wait_with_output().unwrap();
    assert!(answered.status.success(), "{}", answered.status);
    let answered: Vec<(String, u32, String, String)> = serde_json::from_slice(&answered.stdout).unwrap();
    assert_eq!(answered.len(), 16);
    for ((_, level, (sk, _)), (answer, told, integrity, encryption)) in begun.into_iter().zip(answered) {
        let keys = keys_of(sk, &bytes(&answer)).unwrap();
        assert_eq!(told, flags(ROOT, level));
        assert_eq!(hex(keys.hmac_key.expose()), integrity, "{level:?}");
        assert_eq!(hex(keys.encryption_key.expose()), encryption, "{level:?}");
    }
}

#[test]
fn the_flags_are_the_protocols() {
    let roles = Roles { root: true, mdt: true, ost: true };
    let none = Roles { root: false, mdt: false, ost: false };
    assert_eq!(LEVELS.map(|level| flags(none, level)), [0x10, 0x20, 0x40, 0x80]);
    assert_eq!(flags(roles, Level::Null), 0x17);
    assert_eq!(flags(Roles { mdt: true, ..none }, Level::Privacy), 0x82);
    assert_eq!(flags(Roles { ost: true, ..none }, Level::Authentication), 0x24);
    assert_eq!(flags(ROOT, Level::Integrity), 0x41);
}

#[test]
fn our_hmac_covers_every_field_of_our_token() {
    let prime = small();
    let key = usual(&prime);
    let (_, token) = first(known(&key, &prime));
    for field in 0..8 {
        let mut fields = split(&token);
        fields[field][0] ^= 0x01;
        let refused = respond((&key, TARGET, nid()), &join(&fields), &drawn());
        assert_eq!(refused, Err("HMAC"), "field {field}");
    }
    assert_eq!(respond((&key, "lustre-OST0000", nid()), &token, &drawn()), Err("target"));
}

/// The server's fields with one changed, and a new HMAC.
fn signed(key: &SharedKey, change: impl FnOnce(&mut [Vec<u8>])) -> Vec<u8> {
    let prime = key.prime().unwrap();
    let public = power(&[2], &drawn().private, prime);
    let mut fields = [vec![0, 0, 0, 1], drawn().random.to_vec(), public];
    change(&mut fields);
    answer_of(&key.secret, [&fields[0], &fields[1], &fields[2]])
}

fn refusal(key: &SharedKey, prime: &SafePrime, answer: &[u8]) -> (MechanismFault, String) {
    let error = keys_of(first(known(key, prime)).0, answer).unwrap_err();
    assert_eq!(error.gss_major, 0);
    (error.fault, error.text)
}

#[test]
fn a_field_of_the_servers_that_is_changed_on_the_way_is_refused() {
    let prime = small();
    let key = usual(&prime);
    let good = signed(&key, |_| {});
    keys_of(first(known(&key, &prime)).0, &good).unwrap();
    let hmac = (MechanismFault::OtherSecret, "HMAC is not made with our shared key".to_owned());
    let version = (MechanismFault::Token, "version is 0, not 1".to_owned());
    for (field, refused) in [version, hmac.clone(), hmac.clone(), hmac.clone()].into_iter().enumerate() {
        let mut fields = split(&good);
        *fields[field].last_mut().unwrap() ^= 0x01;
        assert_eq!(refusal(&key, &prime, &join(&fields)), refused);
    }
    let other = shared(HmacAlgorithm::Sha256, CipherAlgorithm::Aes256Ctr, &prime).into_parts();
    let other = SharedKey::new(KeyParts { secret: Secret::new(vec![1; 32]), ..other }).unwrap();
    assert_eq!(refusal(&key, &prime, &signed(&other, |_| {})), hmac);
}

#[test]
fn each_offence_of_a_server_that_has_the_key_has_its_own_words() {
    let prime = small();
    let key = usual(&prime);
    let last = |word: &[u8]| [&bytes(PRIME)[..63], word].concat();
    type Change<'a> = &'a dyn Fn(&mut [Vec<u8>]);
    let cases: [(Change<'_>, &str); 11] = [
        (&|fields| fields[0] = vec![0, 0, 0, 2], "version is 2, not 1"),
        (&|fields| fields[0] = vec![1], "version has 1 bytes, not 4"),
        (&|fields| fields[0].push(0), "field 1 is longer than 4 bytes"),
        (&|fields| fields[1] = vec![9; 3], "random number has 3 bytes, not 4"),
        (&|fields| fields[1].push(0), "field 2 is longer than 4 bytes"),
        (&|fields| fields[2].insert(0, 0), "field 3 is longer than 64 bytes"),
        (&|fields| fields[2].clear(), "public key is out of range"),
        (&|fields| fields[2] = vec![0; 64], "public key is out of range"),
        (&|fields| fields[2] = vec![1], "public key is out of range"),
        (&|fields| fields[2] = last(&[0x8e]), "public key is out of range"),
        (&|fields| fields[2] = last(&[0x8f]), "public key is out of range"),
    ];
    for (change, words) in cases {
        let refused = refusal(&key, &prime, &signed(&key, change));
        assert_eq!(refused, (MechanismFault::Token, words.to_owned()));
    }
    assert!(keys_of(first(known(&key, &prime)).0, &signed(&key, |fields| fields[2] = vec![2])).is_ok());
}

#[test]
fn a_token_of_another_form_is_refused() {
    let prime = small();
    let key = usual(&prime);
    let fields = split(&signed(&key, |_| {}));
    let more = [&fields[..], &[b"more".to_vec()]].concat();
    let short_hmac = [&fields[..3], &[vec![0; 31]]].concat();
    for (answer, words) in [
        (join(&fields[..3]), "token ends before its field 4"),
        (join(&more), "token has 7 bytes after its last field"),
        (join(&short_hmac), "HMAC has 31 bytes, not 32"),
        (b"junk".to_vec(), "length of field 1 is malformed"),
        (first(known(&key, &prime)).1, "field 4 is longer than 32 bytes"),
    ] {
        assert_eq!(refusal(&key, &prime, &answer), (MechanismFault::Token, words.to_owned()));
    }
}

#[test]
fn equal_random_bytes_begin_again() {
    let prime = small();
    let key = usual(&prime);
    let answer = signed(&key, |fields| fields[1] = OUR_RANDOM.to_vec());
    let refused = (MechanismFault::BeginAgain, "server's random bytes are ours".to_owned());
    assert_eq!(refusal(&key, &prime, &answer), refused);
}

/// The server's public key with which our private number makes this secret.
fn public_for(secret: &[u8], prime: &SafePrime) -> Vec<u8> {
    let mut order = BigNum::from_slice(prime.as_bytes()).unwrap();
    order.sub_word(1).unwrap();
    let mut inverse = BigNum::new().unwrap();
    let private = BigNum::from_slice(&OUR_PRIVATE).unwrap();
    inverse.mod_inverse(&private, &order, &mut BigNumContext::new().unwrap()).unwrap();
    power(secret, &inverse.to_vec(), prime.as_bytes())
}

#[test]
fn a_shared_secret_that_is_short_is_padded_and_one_that_is_very_short_begins_again() {
    let prime = small();
    let key = usual(&prime);
    for missing in 0..=4 {
        let mut agreed = vec![0x35; 64];
        agreed[..missing].fill(0);
        let answer = signed(&key, |fields| fields[2] = public_for(&agreed, &prime));
        let (sk, token) = first(known(&key, &prime));
        match keys_of(sk, &answer) {
            Ok(made) => {
                assert!(missing <= 2);
                let (nid, flags, agreed) = (nid(), 0x41, &agreed[..]);
                let exchanged = Exchanged { key: &key, nid, flags, agreed, client: &token, server: &answer };
                let (hmac_key, _) = keys(&exchanged);
                assert_eq!(made.hmac_key.expose(), hmac_key);
            }
            Err(error) => {
                let text = format!("shared secret is {missing} bytes short");
                assert_eq!((missing > 2, error.fault, error.text), (true, MechanismFault::BeginAgain, text));
            }
        }
    }
}

#[test]
fn every_exchange_has_its_own_random_numbers() {
    let prime = small();
    let key = usual(&prime);
    let tokens = [0, 1].map(|_| split(&first(Sk::new(parameters(&key, &prime)).unwrap()).1));
    for field in [1, 3, 7] {
        assert_ne!(tokens[0][field], tokens[1][field]);
    }
}

#[test]
fn a_signature_of_the_servers_is_not_taken_unseen() {
    let prime = small();
    let key = usual(&prime);
    let (sk, token) = first(known(&key, &prime));
    let ExchangeStep::Complete(context, _) = sk.step(&granted(&key, &token).answer).unwrap() else {
        panic!("not complete");
    };
    assert_eq!(context.verify_mic(b"window", b"").unwrap_err().fault, MechanismFault::Mic);
}
