//! The type of a shared key and the rules that each keeps, whatever form it comes from.

use super::kinds::{self, CipherAlgorithm, HmacAlgorithm, KeyTypes};
use super::names::{self, MGC};
use crate::crypto::prime_size::{PRIME_CEILING, PRIME_LIMIT};
use crate::ctx::request::Level;
use crate::nid::Nid;
use crate::secret::Secret;

/// Bytes of the binary form.
pub(crate) const LENGTH: usize = 21
    + MGS_NIDS_LIMIT * size_of::<u64>()
    + (FILE_SYSTEM_LIMIT + 1)
    + (NODEMAP_LIMIT + 1)
    + SECRET_LIMIT
    + PRIME_LIMIT;
/// Shortest and longest time that contexts of a key may last, in seconds.
pub(super) const EXPIRE_MINIMUM: u32 = 60;
pub(super) const EXPIRE_MAXIMUM: u32 = 0x7fff_ffff;
/// Most bytes of the secret and the two names.
pub(super) const SECRET_LIMIT: usize = 128;
const SECRET_BITS_LIMIT: usize = SECRET_LIMIT * 8;
pub(super) const FILE_SYSTEM_LIMIT: usize = 64;
pub(super) const NODEMAP_LIMIT: usize = 16;
/// Most network identifiers of servers.
pub(super) const MGS_NIDS_LIMIT: usize = 16;

/// The fields of a shared key, unchecked; [`SharedKey`] is the checked form.
#[derive(Debug)]
pub(crate) struct KeyParts {
    /// Of the context: what signs its messages.
    pub hmac: HmacAlgorithm,
    /// Of the context: what encrypts its messages.
    pub cipher: CipherAlgorithm,
    /// How long a context lasts, in seconds.
    pub expire: u32,
    /// Who uses the key.
    pub types: KeyTypes,
    /// The management servers that a client may authenticate to with this key.
    pub mgs_nids: Vec<Nid>,
    /// The file system; may be empty.
    pub file_system: String,
    /// The nodemap that the server puts the client into.
    pub nodemap: String,
    /// What both sides know.
    pub secret: Secret,
    /// Length of the prime in bits. A key without prime has one, too: its client's.
    pub prime_bits: u32,
    /// The prime for Diffie-Hellman, which only the client's key has.
    pub prime: Option<Vec<u8>>,
}

#[cfg(test)]
impl KeyParts {
    /// Those of a client's key for the file system `lustre`, whose prime nobody has tested.
    pub(crate) fn of_a_client() -> Self {
        Self {
            hmac: HmacAlgorithm::Sha256,
            cipher: CipherAlgorithm::Aes256Ctr,
            expire: 604_800,
            types: KeyTypes { client: true, ..KeyTypes::default() },
            mgs_nids: Vec::new(),
            file_system: "lustre".to_owned(),
            nodemap: "default".to_owned(),
            secret: Secret::new(vec![7; 32]),
            prime_bits: 512,
            prime: Some(vec![0xfb; 64]),
        }
    }
}

/// A shared key that keeps the rules of Lustre's form. Its parts can be read as fields.
#[derive(Debug)]
pub(crate) struct SharedKey(KeyParts);

/// Why bytes or values are no shared key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SharedKeyError {
    /// Not as long as the form is.
    #[error("it has {0} bytes, and a shared key has {LENGTH}")]
    Length(usize),
    /// Another version of the form.
    #[error("its version is {0}, and only version 1 is known")]
    Version(u32),
    /// An unknown number.
    #[error("its HMAC algorithm {0} is unknown")]
    Hmac(u16),
    /// An unknown number.
    #[error("its cipher {0} is unknown")]
    Cipher(u16),
    /// Out of bounds.
    #[error("its contexts last {0} s, and Lustre takes {EXPIRE_MINIMUM} to {EXPIRE_MAXIMUM}")]
    Expire(u32),
    /// No whole bytes.
    #[error("its secret has {0} bits, which is no multiple of 8")]
    SecretBits(u32),
    /// No secret at all.
    #[error("it has no secret")]
    NoSecret,
    /// Does not fit.
    #[error("its secret has {0} bits, and {SECRET_BITS_LIMIT} is the limit")]
    SecretTooLong(u32),
    /// No whole bytes.
    #[error("its prime has {0} bits, which is no multiple of 8")]
    PrimeBits(u32),
    /// Does not fit.
    #[error("its prime has {0} bits, and {PRIME_CEILING} is the limit")]
    PrimeTooLong(u32),
    /// The prime's length is not the one that the key names.
    #[error("its prime has {actual} bytes instead of {named}")]
    PrimeLength {
        /// Bytes that the key says.
        named: usize,
        /// Bytes that there are.
        actual: usize,
    },
    /// For nobody.
    #[error("it has no type: client, server or mgs")]
    NoType,
    /// Bits that have no meaning.
    #[error("its type {0:#04x} is unknown")]
    UnknownType(u8),
    /// More than the form has room for.
    #[error("it names {0} MGS NIDs, and {MGS_NIDS_LIMIT} is the limit")]
    TooManyNids(usize),
    /// Too long, or without the NUL at the end.
    #[error("its file system name has more than {FILE_SYSTEM_LIMIT} bytes")]
    FileSystemTooLong,
    /// Not UTF-8, or with a NUL.
    #[error("its file system name is not UTF-8")]
    FileSystemNoText,
    /// Too long, or without the NUL at the end.
    #[error("its nodemap name has more than {NODEMAP_LIMIT} bytes")]
    NodemapTooLong,
    /// Not UTF-8, or with a NUL.
    #[error("its nodemap name is not UTF-8")]
    NodemapNoText,
}

/// Why a shared key does not authenticate a client to a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyMismatch {
    /// A key for servers.
    #[error("its type is {0}, and a client's key is needed")]
    OtherType(KeyTypes),
    /// A client's key without prime.
    #[error("it has no prime")]
    NoPrime,
    /// A cipher, and no HMAC to derive its key with.
    #[error("it has a cipher but no HMAC, which derives the cipher's key")]
    NothingToDeriveWith,
    /// No HMAC, for a context whose messages must be signed.
    #[error("it has no HMAC, which the file system's flavour needs")]
    NoHmac,
    /// No cipher, for a context whose messages must be encrypted.
    #[error("it has no cipher, which the file system's flavour needs")]
    NoCipher,
    /// For another file system.
    #[error("it is for file system {}", crate::text::quoted(.0))]
    OtherFileSystem(String),
    /// For other management servers.
    #[error("it is for the MGS {}", listed(.0))]
    OtherMgs(Vec<Nid>),
    /// For no management server.
    #[error("it names no MGS")]
    NoMgs,
}

fn listed(nids: &[Nid]) -> String {
    nids.iter().map(Nid::to_string).collect::<Vec<_>>().join(", ")
}

impl SharedKey {
    /// Checks all rules of Lustre's form.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn new(parts: KeyParts) -> Result<Self, SharedKeyError> {
        if !(EXPIRE_MINIMUM..=EXPIRE_MAXIMUM).contains(&parts.expire) {
            return Err(SharedKeyError::Expire(parts.expire));
        }
        if parts.types.is_empty() {
            return Err(SharedKeyError::NoType);
        }
        if parts.mgs_nids.len() > MGS_NIDS_LIMIT {
            return Err(SharedKeyError::TooManyNids(parts.mgs_nids.len()));
        }
        match parts.secret.len() {
            0 => return Err(SharedKeyError::NoSecret),
            1..=SECRET_LIMIT => {}
            bytes => return Err(SharedKeyError::SecretTooLong(kinds::bits(bytes))),
        }
        let prime_bytes = bytes_of_prime(parts.prime_bits)?;
        if let Some(actual) = parts.prime.as_ref().map(Vec::len).filter(|&actual| actual != prime_bytes) {
            return Err(SharedKeyError::PrimeLength { named: prime_bytes, actual });
        }
        check_names(&parts)?;
        Ok(Self(parts))
    }

    /// Its parts, to be changed and checked again.
    #[cfg(any(feature = "tools", test))]
    pub(crate) fn into_parts(self) -> KeyParts {
        self.0
    }

    /// The prime for Diffie-Hellman, big endian; `None` in a key that is for servers only.
    pub(crate) fn prime(&self) -> Option<&[u8]> {
        self.0.prime.as_deref()
    }

    /// Whether a client can authenticate to this target with it.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn serves(&self, target: &str) -> Result<(), KeyMismatch> {
        if !self.types.client {
            return Err(KeyMismatch::OtherType(self.types));
        }
        match target.strip_prefix(MGC) {
            Some(nid) if nid.parse().is_ok_and(|nid: Nid| self.mgs_nids.contains(&nid)) => {}
            Some(_) if self.mgs_nids.is_empty() => return Err(KeyMismatch::NoMgs),
            Some(_) => return Err(KeyMismatch::OtherMgs(self.mgs_nids.clone())),
            None if names::file_system(target) == self.file_system => {}
            None => return Err(KeyMismatch::OtherFileSystem(self.file_system.clone())),
        }
        if self.prime.is_none() {
            return Err(KeyMismatch::NoPrime);
        }
        match (self.hmac, self.cipher) {
            (HmacAlgorithm::Null, CipherAlgorithm::Aes256Ctr) => Err(KeyMismatch::NothingToDeriveWith),
            _ => Ok(()),
        }
    }

    /// Whether its algorithms give the protection of this level; `None` is a context for whatever levels they give (rule
    /// S12).
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn protects(&self, level: Option<Level>) -> Result<(), KeyMismatch> {
        match level {
            None | Some(Level::Null) => Ok(()),
            Some(_) if self.hmac == HmacAlgorithm::Null => Err(KeyMismatch::NoHmac),
            Some(Level::Privacy) if self.cipher == CipherAlgorithm::Null => Err(KeyMismatch::NoCipher),
            Some(_) => Ok(()),
        }
    }

    /// Whether contexts are signed with a key that is the same everywhere: without a cipher the session key is empty, and
    /// the HMAC's key is derived from that alone.
    pub(crate) fn signs_without_secret(&self) -> bool {
        self.cipher == CipherAlgorithm::Null && self.hmac != HmacAlgorithm::Null
    }

    /// Whether it lacks a cipher or a hash, so that others than its holders could pass for a server.
    pub(crate) fn lacks_protection(&self) -> bool {
        self.cipher == CipherAlgorithm::Null || self.hmac == HmacAlgorithm::Null
    }

    /// Whether it lacks a cipher or a hash that another key has.
    pub(crate) fn is_weaker_than(&self, other: &Self) -> bool {
        let lacks_cipher = self.cipher == CipherAlgorithm::Null && other.cipher != CipherAlgorithm::Null;
        lacks_cipher || self.hmac == HmacAlgorithm::Null && other.hmac != HmacAlgorithm::Null
    }
}

impl std::ops::Deref for SharedKey {
    type Target = KeyParts;

    fn deref(&self) -> &KeyParts {
        &self.0
    }
}

/// The bytes of a secret of so many bits.
///
/// # Errors
/// [`SharedKeyError::SecretBits`], [`SharedKeyError::SecretTooLong`].
pub(crate) fn bytes_of_secret(bits: u32) -> Result<usize, SharedKeyError> {
    let bytes = kinds::whole_bytes(bits).ok_or(SharedKeyError::SecretBits(bits))?;
    if bytes > SECRET_LIMIT { Err(SharedKeyError::SecretTooLong(bits)) } else { Ok(bytes) }
}

/// The bytes of a prime of so many bits.
pub(super) fn bytes_of_prime(bits: u32) -> Result<usize, SharedKeyError> {
    let bytes = kinds::whole_bytes(bits).ok_or(SharedKeyError::PrimeBits(bits))?;
    if bytes > PRIME_LIMIT { Err(SharedKeyError::PrimeTooLong(bits)) } else { Ok(bytes) }
}

fn check_names(parts: &KeyParts) -> Result<(), SharedKeyError> {
    if parts.file_system.len() > FILE_SYSTEM_LIMIT {
        return Err(SharedKeyError::FileSystemTooLong);
    }
    if parts.nodemap.len() > NODEMAP_LIMIT {
        return Err(SharedKeyError::NodemapTooLong);
    }
    if parts.file_system.contains('\0') {
        return Err(SharedKeyError::FileSystemNoText);
    }
    if parts.nodemap.contains('\0') {
        return Err(SharedKeyError::NodemapNoText);
    }
    Ok(())
}
