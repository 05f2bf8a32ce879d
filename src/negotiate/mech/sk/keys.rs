//! The keys of a context, by what both sides have said.
//!
//! Called by [`sk`](super) when the server's token is verified. HMAC is the `hmac` crate's, which zeroes its state and compares
//! in constant time; PBKDF2 is OpenSSL's, which has it as one function.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use openssl::hash::MessageDigest;
use openssl::pkcs5::pbkdf2_hmac;
use sha2::{Sha256, Sha512};

use super::error::SkError;
use crate::creds::shared_key::{CipherAlgorithm, HmacAlgorithm, SharedKey};
use crate::ctx::request::Level;
use crate::nid::Nid;
use crate::secret::Secret;

/// Rounds of PBKDF2.
const ROUNDS: usize = 10_000;

/// What the session key depends on, beside the shared key.
pub(super) struct Conversation<'a> {
    /// The Diffie-Hellman secret, as long as the prime.
    pub(super) agreed: &'a Secret,
    /// The client's network identifier.
    pub(super) myself: Nid,
    /// The client's token.
    pub(super) client: &'a [u8],
    /// The server's token.
    pub(super) server: &'a [u8],
}

/// Whether keys can be derived for the cipher.
pub(super) fn check_algorithms(key: &SharedKey) -> Result<(), SkError> {
    match (key.hmac, key.cipher) {
        (HmacAlgorithm::Null, CipherAlgorithm::Aes256Ctr) => Err(SkError::NoHmac),
        _ => Ok(()),
    }
}

/// The HMAC key, and the encryption key, which is empty unless privacy is asked for.
pub(super) fn derive(
    key: &SharedKey,
    level: Level,
    said: &Conversation<'_>,
) -> Result<(Secret, Secret), SkError> {
    check_algorithms(key)?;
    let session = session_key(key, said)?;
    let hmac_key = stretch(key.hmac, b"Integrity", &session, key.hmac.digest_length())?;
    let encryption_length = if level == Level::Privacy { key.cipher.key_length() } else { 0 };
    let encryption_key = stretch(key.hmac, b"Encrypt", &session, encryption_length)?;
    Ok((hmac_key, encryption_key))
}

/// As long as a key of the cipher, so empty without one: the HMAC key is then the same in all contexts.
fn session_key(key: &SharedKey, said: &Conversation<'_>) -> Result<Secret, SkError> {
    let length = key.cipher.key_length();
    let nid = said.myself.raw().to_ne_bytes();
    let mut session = Vec::with_capacity(length + HmacAlgorithm::Sha512.digest_length());
    for counter in 0_u32.. {
        if session.len() >= length {
            break;
        }
        let counter = counter.to_be_bytes();
        let parts = [&counter[..], said.agreed.expose(), &nid, said.client, said.server];
        session.extend_from_slice(digest(key.hmac, &key.secret, &parts)?.expose());
    }
    session.truncate(length);
    Ok(Secret::new(session))
}

fn digest(hmac: HmacAlgorithm, secret: &Secret, parts: &[&[u8]]) -> Result<Secret, SkError> {
    Ok(Secret::new(match hmac {
        HmacAlgorithm::Null => return Err(SkError::NoHmac),
        HmacAlgorithm::Sha256 => keyed::<Hmac<Sha256>>(secret, parts)?.finalize().as_bytes().to_vec(),
        HmacAlgorithm::Sha512 => keyed::<Hmac<Sha512>>(secret, parts)?.finalize().as_bytes().to_vec(),
    }))
}

/// HMAC over the parts in turn.
pub(super) fn keyed<M: Mac + KeyInit>(secret: &Secret, parts: &[&[u8]]) -> Result<M, SkError> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.expose()).map_err(|_| SkError::Secret)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac)
}

/// PBKDF2 (RFC 8018 §5.2) with the session key as salt.
fn stretch(hmac: HmacAlgorithm, password: &[u8], session: &Secret, length: usize) -> Result<Secret, SkError> {
    let mut key = vec![0; length];
    let hash = match hmac {
        HmacAlgorithm::Sha256 => MessageDigest::sha256(),
        HmacAlgorithm::Sha512 => MessageDigest::sha512(),
        HmacAlgorithm::Null => return Ok(Secret::new(Vec::new())),
    };
    if length > 0 {
        pbkdf2_hmac(password, session.expose(), ROUNDS, hash, &mut key)?;
    }
    Ok(Secret::new(key))
}
