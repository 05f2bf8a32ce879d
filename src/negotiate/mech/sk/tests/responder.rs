//! A server in other means than ours: HMAC and numbers by OpenSSL, PBKDF2 by its definition (RFC 8018 §5.2).

use hmac::{Hmac, KeyInit, Mac};
use openssl::bn::{BigNum, BigNumContext};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use sha2::{Digest, Sha256, Sha512};

use crate::creds::shared_key::{HmacAlgorithm, SharedKey};
use crate::nid::Nid;
use crate::secret::Secret;

/// The server's random numbers.
pub(super) struct Drawn {
    pub(super) random: [u8; 4],
    pub(super) private: Vec<u8>,
}

/// What the server has after the exchange.
#[derive(Debug, PartialEq)]
pub(super) struct Granted {
    pub(super) answer: Vec<u8>,
    pub(super) flags: u32,
    pub(super) hmac_key: Vec<u8>,
    pub(super) encryption_key: Vec<u8>,
}

/// Answers the token of a client that must want this target.
pub(super) fn respond(
    (key, target, nid): (&SharedKey, &str, Nid),
    token: &[u8],
    drawn: &Drawn,
) -> Result<Granted, &'static str> {
    let fields = split(token);
    let [version, random, prime, public, wanted, nodemap, flags, hmac] = &fields[..] else {
        return Err("number of fields");
    };
    if *hmac != sign(MessageDigest::sha256(), &key.secret, &fields[..7].concat()) {
        return Err("HMAC");
    }
    let flags: [u8; 4] = flags[..].try_into().map_err(|_| "flags")?;
    for (met, objection) in [
        (version[..] == [0, 0, 0, 1], "version"),
        (random.len() == 4, "random"),
        (Some(&prime[..]) == key.prime(), "prime"),
        (wanted.strip_suffix(b"\0") == Some(target.as_bytes()), "target"),
        (nodemap[..] == Sha256::digest(key.nodemap.as_bytes())[..], "nodemap"),
        (public.len() == prime.len() && *public < *prime, "public key"),
    ] {
        if !met {
            return Err(objection);
        }
    }
    let number = |base: &[u8]| power(base, &drawn.private, prime);
    let answer = answer_of(&key.secret, [&[0, 0, 0, 1], &drawn.random, &number(&[2])]);
    let flags = u32::from_be_bytes(flags);
    let agreed = number(public);
    let exchanged = Exchanged { key, nid, flags, agreed: &agreed, client: token, server: &answer };
    let (hmac_key, encryption_key) = keys(&exchanged);
    Ok(Granted { answer, flags, hmac_key, encryption_key })
}

/// An answer with these fields and their HMAC.
pub(super) fn answer_of(secret: &Secret, fields: [&[u8]; 3]) -> Vec<u8> {
    let [version, random, public] = fields;
    let hmac = sign(MessageDigest::sha256(), secret, &fields.concat());
    join(&[version.to_vec(), random.to_vec(), public.to_vec(), hmac])
}

/// What the keys of a context come from.
pub(super) struct Exchanged<'a> {
    pub(super) key: &'a SharedKey,
    /// The client's.
    pub(super) nid: Nid,
    /// The client's.
    pub(super) flags: u32,
    /// The number of Diffie-Hellman that both sides have.
    pub(super) agreed: &'a [u8],
    /// The client's token.
    pub(super) client: &'a [u8],
    /// The server's.
    pub(super) server: &'a [u8],
}

/// HMAC key and encryption key.
pub(super) fn keys(exchanged: &Exchanged<'_>) -> (Vec<u8>, Vec<u8>) {
    let Exchanged { key, nid, flags, agreed, client, server } = *exchanged;
    let hash = match key.hmac {
        HmacAlgorithm::Null => return (Vec::new(), Vec::new()),
        HmacAlgorithm::Sha256 => MessageDigest::sha256(),
        HmacAlgorithm::Sha512 => MessageDigest::sha512(),
    };
    // One block is enough for every cipher.
    let said = [&[0; 4][..], agreed, &nid.raw().to_le_bytes(), client, server].concat();
    let session = sign(hash, &key.secret, &said)[..key.cipher.key_length()].to_vec();
    let stretched = |password: &[u8], length| match key.hmac {
        HmacAlgorithm::Sha512 => first_block::<Hmac<Sha512>>(password, &session)[..length].to_vec(),
        _ => first_block::<Hmac<Sha256>>(password, &session)[..length].to_vec(),
    };
    let private = if flags & 0x80 == 0 { 0 } else { key.cipher.key_length() };
    (stretched(b"Integrity", hash.size()), stretched(b"Encrypt", private))
}

fn first_block<M: Mac + KeyInit + Clone>(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let keyed = <M as KeyInit>::new_from_slice(password).unwrap();
    let prf = |input: &[u8]| keyed.clone().chain_update(input).finalize().into_bytes();
    let mut hash = prf(&[salt, &[0, 0, 0, 1]].concat());
    let mut sum = hash.to_vec();
    for _ in 1..10_000 {
        hash = prf(&hash);
        sum.iter_mut().zip(&hash).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

fn sign(hash: MessageDigest, secret: &Secret, message: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(secret.expose()).unwrap();
    Signer::new(hash, &key).unwrap().sign_oneshot_to_vec(message).unwrap()
}

/// Modulo the prime, as long as it.
pub(super) fn power(base: &[u8], exponent: &[u8], prime: &[u8]) -> Vec<u8> {
    let [base, exponent, modulus] = [base, exponent, prime].map(|bytes| BigNum::from_slice(bytes).unwrap());
    let mut power = BigNum::new().unwrap();
    power.mod_exp(&base, &exponent, &modulus, &mut BigNumContext::new().unwrap()).unwrap();
    power.to_vec_padded(prime.len().try_into().unwrap()).unwrap()
}

pub(super) fn split(mut token: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while !token.is_empty() {
        let colon = token.iter().position(|&byte| byte == b':').unwrap();
        let length: usize = std::str::from_utf8(&token[..colon]).unwrap().parse().unwrap();
        let (field, rest) = token[colon + 1..].split_at(length);
        fields.push(field.to_vec());
        token = rest.strip_prefix(b",").unwrap();
    }
    fields
}

pub(super) fn join(fields: &[Vec<u8>]) -> Vec<u8> {
    fields.iter().flat_map(|field| [format!("{}:", field.len()).as_bytes(), field, b","].concat()).collect()
}
