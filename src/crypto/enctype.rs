//! Encryption types that contexts may use.

use std::fmt;

/// A Kerberos encryption type (RFC 3962 §7, RFC 8009 §7). DES, 3DES and RC4 are refused everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Enctype {
    /// aes128-cts-hmac-sha1-96
    Aes128Sha1 = 17,
    /// aes256-cts-hmac-sha1-96
    Aes256Sha1 = 18,
    /// aes128-cts-hmac-sha256-128
    Aes128Sha256 = 19,
    /// aes256-cts-hmac-sha384-192
    Aes256Sha384 = 20,
}

/// An encryption type that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("encryption type {0} is not accepted (only AES: 17, 18, 19, 20)")]
pub struct UnknownEnctype(pub u32);

/// A base key whose length is not that of its encryption type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key of {length} bytes, {enctype} takes {}", enctype.key_length())]
pub struct KeyLength {
    /// The encryption type the key was given for.
    pub enctype: Enctype,
    /// Length of the key in bytes.
    pub length: usize,
}

impl Enctype {
    /// Length of a key of this type in bytes.
    pub fn key_length(self) -> usize {
        match self {
            Self::Aes128Sha1 | Self::Aes128Sha256 => 16,
            Self::Aes256Sha1 | Self::Aes256Sha384 => 32,
        }
    }

    /// The type of this name, as krb5.conf has it.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Aes128Sha1, Self::Aes256Sha1, Self::Aes128Sha256, Self::Aes256Sha384]
            .into_iter()
            .find(|enctype| enctype.to_string() == name)
    }

    /// The number assigned to it.
    pub fn number(self) -> u32 {
        self as u32
    }
}

impl TryFrom<u32> for Enctype {
    type Error = UnknownEnctype;

    fn try_from(number: u32) -> Result<Self, UnknownEnctype> {
        match number {
            17 => Ok(Self::Aes128Sha1),
            18 => Ok(Self::Aes256Sha1),
            19 => Ok(Self::Aes128Sha256),
            20 => Ok(Self::Aes256Sha384),
            other => Err(UnknownEnctype(other)),
        }
    }
}

impl fmt::Display for Enctype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes128Sha1 => "aes128-cts-hmac-sha1-96",
            Self::Aes256Sha1 => "aes256-cts-hmac-sha1-96",
            Self::Aes128Sha256 => "aes128-cts-hmac-sha256-128",
            Self::Aes256Sha384 => "aes256-cts-hmac-sha384-192",
        })
    }
}
