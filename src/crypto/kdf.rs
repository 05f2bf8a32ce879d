//! Derives the keys for one purpose from a context's base key.
//!
//! Called by [`mic`](super::mic) and for contexts laid out for the kernel. Invariants: a base key is used only if its length
//! is that of its encryption type, and derived keys are [`Secret`]s.
#![forbid(unsafe_code)]

use super::block_cipher::BlockCipher;
use super::enctype::Enctype;
pub use super::enctype::KeyLength;
use super::keyed_hash::KeyedHash;
use crate::secret::Secret;
use zeroize::Zeroizing;

/// The use of a derived key, which is the last byte of the derivation constant (RFC 3961 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyPurpose {
    /// Ke: encrypts.
    Encryption = 0xaa,
    /// Ki: protects the integrity of encrypted data.
    Integrity = 0x55,
    /// Kc: protects the integrity of data sent in the clear.
    Checksum = 0x99,
}

/// The key for `usage` and `kind` that standard Kerberos derives for this encryption type.
///
/// As long as the base key, except Ki and Kc of aes256-cts-hmac-sha384-192, which have 24 bytes. RFC 3961 §5.3 for
/// types 17 and 18, RFC 8009 §5 for 19 and 20.
///
/// # Errors
/// [`KeyLength`].
pub fn derive(enctype: Enctype, base_key: &[u8], usage: u32, kind: KeyPurpose) -> Result<Secret, KeyLength> {
    match enctype {
        Enctype::Aes128Sha1 | Enctype::Aes256Sha1 => dk(enctype, base_key, usage, kind),
        Enctype::Aes128Sha256 | Enctype::Aes256Sha384 => kdf_hmac_sha2(enctype, base_key, usage, kind),
    }
}

/// DK of RFC 3961 §5.1 for any AES key: the key for `usage` and `kind`, as long as the base key.
///
/// [`derive()`] uses it for types 17 and 18 only. Lustre's kernel code expects it for 19 and 20 as well, so it can be called
/// directly.
///
/// # Errors
/// [`KeyLength`].
pub(crate) fn dk(
    enctype: Enctype,
    base_key: &[u8],
    usage: u32,
    kind: KeyPurpose,
) -> Result<Secret, KeyLength> {
    dr(enctype, base_key, &constant(usage, kind))
}

/// `u32 be usage` and the kind (RFC 3961 §5.3; the label of RFC 8009 §5).
fn constant(usage: u32, kind: KeyPurpose) -> [u8; 5] {
    let [a, b, c, d] = usage.to_be_bytes();
    [a, b, c, d, kind as u8]
}

/// DR of RFC 3961 §5.1, which for AES is DK too, because random-to-key is the identity (RFC 3962 §6).
///
/// One block in CBC mode with a zero initialisation vector is the block cipher alone, so the output is the chain
/// E(n-fold(constant)), E(E(n-fold(constant))), cut to the length of a key.
pub(super) fn dr(enctype: Enctype, base_key: &[u8], constant: &[u8]) -> Result<Secret, KeyLength> {
    let cipher = BlockCipher::new(enctype, base_key)?;
    let mut block = Zeroizing::new(n_fold::<16>(constant));
    let mut key = Vec::with_capacity(enctype.key_length());
    while key.len() < enctype.key_length() {
        cipher.encrypt_block(&mut block);
        key.extend_from_slice(&block[..]);
    }
    Ok(Secret::new(key))
}

/// KDF-HMAC-SHA2 of RFC 8009 §3, whose result never needs more than one block of hash output.
///
/// The hash input is `u32 be 1` · constant · `u8 0` · `u32 be` length of the result in bits.
fn kdf_hmac_sha2(
    enctype: Enctype,
    base_key: &[u8],
    usage: u32,
    kind: KeyPurpose,
) -> Result<Secret, KeyLength> {
    check_length(enctype, base_key)?;
    let bits: u32 = match (enctype, kind) {
        (Enctype::Aes128Sha1 | Enctype::Aes128Sha256, _) => 128,
        (Enctype::Aes256Sha1 | Enctype::Aes256Sha384, KeyPurpose::Encryption) => 256,
        (Enctype::Aes256Sha1 | Enctype::Aes256Sha384, KeyPurpose::Integrity | KeyPurpose::Checksum) => 192,
    };
    let mut hash = KeyedHash::new(enctype, base_key);
    hash.update(&1_u32.to_be_bytes());
    hash.update(&constant(usage, kind));
    hash.update(&[0]);
    hash.update(&bits.to_be_bytes());
    Ok(hash.leftmost(bits as usize / 8))
}

fn check_length(enctype: Enctype, key: &[u8]) -> Result<usize, KeyLength> {
    let length = key.len();
    if length == enctype.key_length() { Ok(length) } else { Err(KeyLength { enctype, length }) }
}

/// n-fold of RFC 3961 §5.1: `input` stretched or shrunk to `N` bytes so that every input bit counts alike.
///
/// Copies of the input, each rotated right by 13 bits more than the one before, are laid end to end until they fill a
/// whole number of outputs; those are added in ones' complement.
pub(super) fn n_fold<const N: usize>(input: &[u8]) -> [u8; N] {
    let copies = (1..=N).find(|copies| (copies * input.len()).is_multiple_of(N)).unwrap_or(N);
    let stretched: Vec<u8> = (0..copies).flat_map(|copy| rotated_right(input, 13 * copy)).collect();

    let mut columns = [0_u32; N];
    for output in stretched.chunks_exact(N) {
        for (column, byte) in columns.iter_mut().zip(output) {
            *column += u32::from(*byte);
        }
    }
    loop {
        let carry = columns.iter_mut().rev().fold(0, |carry, column| {
            let sum = *column + carry;
            *column = sum & 0xff;
            sum >> 8
        });
        // Ones' complement: the carry out of the top comes back in at the bottom.
        match columns.last_mut() {
            Some(lowest) if carry > 0 => *lowest += carry,
            _ => return columns.map(|column| column.to_be_bytes()[3]),
        }
    }
}

fn rotated_right(bytes: &[u8], bits: usize) -> impl Iterator<Item = u8> {
    let (whole, part) = (bits / 8, bits % 8);
    let start = bytes.len() - whole % bytes.len().max(1);
    let here = bytes.iter().cycle().skip(start);
    let before = bytes.iter().cycle().skip(start + bytes.len().saturating_sub(1));
    before.zip(here).take(bytes.len()).map(move |(before, here)| {
        let [_, rotated] = (u16::from_be_bytes([*before, *here]) >> part).to_be_bytes();
        rotated
    })
}
