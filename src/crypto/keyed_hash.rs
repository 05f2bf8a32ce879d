//! HMAC with the hash function of an encryption type. Only this file knows which type has which.
//!
//! Called by [`kdf`](super::kdf), [`mic`](super::mic) and [`wrap`](super::wrap). Invariant: the key was derived or checked for the encryption
//! type, so it is never longer than a block of the hash.
#![forbid(unsafe_code)]

use super::enctype::Enctype;
use crate::secret::Secret;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

/// A keyed hash in progress. A clone of one that has seen nothing saves the preparation of the key.
#[derive(Clone)]
pub(super) enum KeyedHash {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
}

/// The checksum is not that of the hashed data.
pub(super) struct Mismatch;

impl KeyedHash {
    pub(super) fn new(enctype: Enctype, key: &[u8]) -> Self {
        match enctype {
            Enctype::Aes128Sha1 | Enctype::Aes256Sha1 => Self::Sha1(Hmac::new((&*block::<64>(key)).into())),
            Enctype::Aes128Sha256 => Self::Sha256(Hmac::new((&*block::<64>(key)).into())),
            Enctype::Aes256Sha384 => Self::Sha384(Hmac::new((&*block::<128>(key)).into())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
        }
    }

    /// The first `length` bytes of the hash.
    pub(super) fn leftmost(self, length: usize) -> Secret {
        Secret::new(match self {
            Self::Sha1(hash) => hash.finalize().as_bytes().iter().copied().take(length).collect(),
            Self::Sha256(hash) => hash.finalize().as_bytes().iter().copied().take(length).collect(),
            Self::Sha384(hash) => hash.finalize().as_bytes().iter().copied().take(length).collect(),
        })
    }

    /// Appends the first `length` bytes of the hash, for one that everybody may see.
    pub(super) fn append_leftmost(self, length: usize, to: &mut Vec<u8>) {
        match self {
            Self::Sha1(hash) => to.extend(hash.finalize().as_bytes().iter().take(length)),
            Self::Sha256(hash) => to.extend(hash.finalize().as_bytes().iter().take(length)),
            Self::Sha384(hash) => to.extend(hash.finalize().as_bytes().iter().take(length)),
        }
    }

    /// Whether the hash starts with `checksum`. Takes the same time wherever they differ.
    pub(super) fn verify_leftmost(self, checksum: &[u8]) -> Result<(), Mismatch> {
        match self {
            Self::Sha1(hash) => hash.verify_truncated_left(checksum),
            Self::Sha256(hash) => hash.verify_truncated_left(checksum),
            Self::Sha384(hash) => hash.verify_truncated_left(checksum),
        }
        .map_err(|_| Mismatch)
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash")
    }
}

/// Length in bytes of the checksums of an encryption type (RFC 3962 §6, RFC 8009 §6).
pub(super) fn checksum_length(enctype: Enctype) -> usize {
    match enctype {
        Enctype::Aes128Sha1 | Enctype::Aes256Sha1 => 12,
        Enctype::Aes128Sha256 => 16,
        Enctype::Aes256Sha384 => 24,
    }
}

/// The key padded with zeros to a block, as HMAC itself does it (RFC 2104 §2): a whole block cannot be refused.
fn block<const N: usize>(key: &[u8]) -> Zeroizing<[u8; N]> {
    let mut block = Zeroizing::new([0; N]);
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    block
}
