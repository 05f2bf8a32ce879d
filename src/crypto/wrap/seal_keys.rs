//! The keys of one direction, and what they do to the bytes: the encryption profiles of RFC 3962 and RFC 8009.

use super::error::WrapError;
use crate::crypto::block_cipher::{BLOCK, BlockCipher};
use crate::crypto::enctype::Enctype;
use crate::crypto::ends::Role;
use crate::crypto::kdf::{self, KeyLength, KeyPurpose};
use crate::crypto::keyed_hash::{KeyedHash, checksum_length};

/// Ke, Ki and Kc of the end that sends.
pub(super) struct SealKeys {
    enctype: Enctype,
    cipher: BlockCipher,
    /// Keyed with Ki, before a message.
    integrity: KeyedHash,
    /// Keyed with Kc, before a message.
    signing: KeyedHash,
}

impl SealKeys {
    pub(super) fn new(enctype: Enctype, base_key: &[u8], sender: Role) -> Result<Self, KeyLength> {
        Self::for_usage(enctype, base_key, seal_usage(sender))
    }

    /// The keys for any usage number: those of others are in RFC 8009's examples.
    pub(super) fn for_usage(enctype: Enctype, base_key: &[u8], usage: u32) -> Result<Self, KeyLength> {
        let key = |purpose| kdf::derive(enctype, base_key, usage, purpose);
        let hash = |purpose| Ok(KeyedHash::new(enctype, key(purpose)?.expose()));
        Ok(Self {
            enctype,
            cipher: BlockCipher::new(enctype, key(KeyPurpose::Encryption)?.expose())?,
            integrity: hash(KeyPurpose::Integrity)?,
            signing: hash(KeyPurpose::Checksum)?,
        })
    }

    /// Encrypts the pieces as one message and appends their checksum to `tail`. RFC 3962 §6: the checksum is of the plaintext;
    /// RFC 8009 §5: of the initialisation vector and the ciphertext.
    pub(super) fn encrypt(&self, pieces: &mut [&mut [u8]], tail: &mut Vec<u8>) {
        let checksum = match self.enctype {
            Enctype::Aes128Sha1 | Enctype::Aes256Sha1 => {
                let checksum = self.of_plaintext(pieces);
                self.cipher.encrypt(pieces);
                checksum
            }
            Enctype::Aes128Sha256 | Enctype::Aes256Sha384 => {
                self.cipher.encrypt(pieces);
                self.of_ciphertext(pieces)
            }
        };
        checksum.append_leftmost(checksum_length(self.enctype), tail);
    }

    /// Decrypts the pieces as one message. Types 19 and 20 are checked before.
    pub(super) fn decrypt(&self, pieces: &mut [&mut [u8]], checksum: &[u8]) -> Result<(), WrapError> {
        let computed = match self.enctype {
            Enctype::Aes128Sha1 | Enctype::Aes256Sha1 => {
                self.cipher.decrypt(pieces);
                self.of_plaintext(pieces)
            }
            Enctype::Aes128Sha256 | Enctype::Aes256Sha384 => self.of_ciphertext(pieces),
        };
        computed.verify_leftmost(checksum).map_err(|_| WrapError::Mismatch)?;
        if matches!(self.enctype, Enctype::Aes128Sha256 | Enctype::Aes256Sha384) {
            self.cipher.decrypt(pieces);
        }
        Ok(())
    }

    /// The checksum of a message that is only signed, and of its header.
    pub(super) fn signed(&self, message: &[u8], header: &[u8]) -> KeyedHash {
        let mut hash = self.signing.clone();
        hash.update(message);
        hash.update(header);
        hash
    }

    fn of_plaintext(&self, pieces: &[&mut [u8]]) -> KeyedHash {
        let mut hash = self.integrity.clone();
        pieces.iter().for_each(|piece| hash.update(piece));
        hash
    }

    fn of_ciphertext(&self, pieces: &[&mut [u8]]) -> KeyedHash {
        let mut hash = self.integrity.clone();
        hash.update(&[0; BLOCK]);
        pieces.iter().for_each(|piece| hash.update(piece));
        hash
    }
}

impl std::fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKeys({})", self.enctype)
    }
}

/// KG-USAGE-INITIATOR-SEAL and KG-USAGE-ACCEPTOR-SEAL (RFC 4121 §2).
fn seal_usage(sender: Role) -> u32 {
    match sender {
        Role::Initiator => 24,
        Role::Acceptor => 22,
    }
}
