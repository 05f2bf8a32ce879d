//! The binary form of a shared key: that of files, and of keys in the keyring. Big endian, without padding:
//!
//! ```text
//! u32 version 1 · u16 HMAC · u16 cipher · u32 seconds · u32 bits of the secret · u32 bits of the prime · u8 types
//! 16 × u64 NID, all ones if unused · file system [65] · nodemap [17], NUL-terminated · secret [128] · prime [2048]
//! ```

use super::key::{
    FILE_SYSTEM_LIMIT, KeyParts, LENGTH, MGS_NIDS_LIMIT, NODEMAP_LIMIT, SECRET_LIMIT, SharedKey,
    SharedKeyError, bytes_of_prime, bytes_of_secret,
};
use super::kinds::{self, CipherAlgorithm, HmacAlgorithm, KeyTypes};
use crate::crypto::prime_size::PRIME_LIMIT;
use crate::nid::Nid;
use crate::secret::Secret;
use crate::wire::{Reader, WireError};

const VERSION: u32 = 1;

impl SharedKey {
    /// Reads the binary form and checks all its rules.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SharedKeyError> {
        let wrong_length = |_: WireError| SharedKeyError::Length(bytes.len());
        let mut reader = Reader::new(bytes);
        let version = reader.u32_be().map_err(wrong_length)?;
        if bytes.len() != LENGTH {
            return Err(SharedKeyError::Length(bytes.len()));
        }
        if version != VERSION {
            return Err(SharedKeyError::Version(version));
        }
        Self::new(parts(&mut reader, bytes.len())?)
    }

    /// Its binary form.
    pub(crate) fn encode(&self) -> Secret {
        let mut form = Vec::with_capacity(LENGTH);
        form.extend(VERSION.to_be_bytes());
        form.extend(self.hmac.number().to_be_bytes());
        form.extend(self.cipher.number().to_be_bytes());
        form.extend(self.expire.to_be_bytes());
        form.extend(kinds::bits(self.secret.len()).to_be_bytes());
        form.extend(self.prime_bits.to_be_bytes());
        form.push(self.types.number());
        let unused = std::iter::repeat(&Nid::ANY);
        let nids = self.mgs_nids.iter().chain(unused).take(MGS_NIDS_LIMIT);
        form.extend(nids.flat_map(|nid| nid.raw().to_be_bytes()));
        padded(&mut form, self.file_system.as_bytes(), FILE_SYSTEM_LIMIT + 1);
        padded(&mut form, self.nodemap.as_bytes(), NODEMAP_LIMIT + 1);
        padded(&mut form, self.secret.expose(), SECRET_LIMIT);
        padded(&mut form, self.prime().unwrap_or_default(), PRIME_LIMIT);
        Secret::new(form)
    }
}

/// The contents, and zeros up to `length`. A [`SharedKey`] has none that is longer.
fn padded(form: &mut Vec<u8>, content: &[u8], length: usize) {
    let end = form.len() + length;
    form.extend_from_slice(content);
    form.resize(end, 0);
}

fn parts(reader: &mut Reader<'_>, length: usize) -> Result<KeyParts, SharedKeyError> {
    let short = |_: WireError| SharedKeyError::Length(length);
    let hmac = u16_be(reader).map_err(short)?;
    let hmac = HmacAlgorithm::of_number(hmac).ok_or(SharedKeyError::Hmac(hmac))?;
    let cipher = u16_be(reader).map_err(short)?;
    let cipher = CipherAlgorithm::of_number(cipher).ok_or(SharedKeyError::Cipher(cipher))?;
    let expire = reader.u32_be().map_err(short)?;
    let secret_bits = reader.u32_be().map_err(short)?;
    let secret_bytes = bytes_of_secret(secret_bits)?;
    let prime_bits = reader.u32_be().map_err(short)?;
    let prime_bytes = bytes_of_prime(prime_bits)?;
    let types = reader.u8().map_err(short)?;
    let types = KeyTypes::of_number(types).ok_or(SharedKeyError::UnknownType(types))?;
    let nids = reader.take(MGS_NIDS_LIMIT * size_of::<u64>()).map_err(short)?;
    let file_system = reader.take(FILE_SYSTEM_LIMIT + 1).map_err(short)?;
    let nodemap = reader.take(NODEMAP_LIMIT + 1).map_err(short)?;
    let secret = reader.take(SECRET_LIMIT).map_err(short)?;
    let prime = reader.take(PRIME_LIMIT).map_err(short)?;
    let secret = secret.get(..secret_bytes).ok_or(SharedKeyError::SecretTooLong(secret_bits))?;
    let prime = prime.get(..prime_bytes).filter(|prime| prime.iter().any(|&byte| byte != 0));
    Ok(KeyParts {
        hmac,
        cipher,
        expire,
        types,
        mgs_nids: nids_of(nids),
        file_system: text(file_system, SharedKeyError::FileSystemTooLong, SharedKeyError::FileSystemNoText)?,
        nodemap: text(nodemap, SharedKeyError::NodemapTooLong, SharedKeyError::NodemapNoText)?,
        secret: Secret::new(secret.to_vec()),
        prime_bits,
        prime: prime.map(<[u8]>::to_vec),
    })
}

fn u16_be(reader: &mut Reader<'_>) -> Result<u16, WireError> {
    Ok(u16::from_be_bytes([reader.u8()?, reader.u8()?]))
}

fn nids_of(bytes: &[u8]) -> Vec<Nid> {
    let all = bytes.as_chunks::<8>().0.iter().map(|nid| Nid::from_raw(u64::from_be_bytes(*nid)));
    all.filter(|nid| !nid.is_any()).collect()
}

/// The text before the first NUL.
fn text(field: &[u8], endless: SharedKeyError, no_text: SharedKeyError) -> Result<String, SharedKeyError> {
    let text = field.split(|&byte| byte == 0).next().filter(|text| text.len() < field.len());
    let text = text.ok_or(endless)?;
    String::from_utf8(text.to_vec()).map_err(|_| no_text)
}
