//! The algorithms and the types of shared keys, by the numbers of Lustre's form.

use std::fmt;

/// What signs the messages of a context, and derives its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HmacAlgorithm {
    /// Nothing.
    Null,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

/// What encrypts the messages of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CipherAlgorithm {
    /// Nothing.
    Null,
    /// AES-256 in counter mode.
    Aes256Ctr,
}

/// Whom a key is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyTypes {
    /// A client of file systems.
    pub client: bool,
    /// A server of a file system.
    pub server: bool,
    /// A management server.
    pub mgs: bool,
}

impl HmacAlgorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Null, Self::Sha256, Self::Sha512];

    /// The number in Lustre's form.
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The name for people.
    #[cfg(feature = "upcall")]
    pub(crate) fn shown_name(self) -> &'static str {
        match self {
            Self::Null => "NONE",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// The name in a context token.
    pub(crate) fn kernel_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    pub(crate) fn digest_length(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    pub(super) fn of_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }
}

impl CipherAlgorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Null, Self::Aes256Ctr];

    /// The number in Lustre's form.
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Aes256Ctr => 1,
        }
    }

    /// The name for people.
    #[cfg(feature = "upcall")]
    pub(crate) fn shown_name(self) -> &'static str {
        match self {
            Self::Null => "NONE",
            Self::Aes256Ctr => "AES-256-CTR",
        }
    }

    /// The name in a context token.
    pub(crate) fn kernel_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Aes256Ctr => "ctr(aes)",
        }
    }

    /// Bytes of its key.
    pub(crate) fn key_length(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Aes256Ctr => 32,
        }
    }

    pub(super) fn of_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }
}

impl KeyTypes {
    const CLIENT: u8 = 1;
    const SERVER: u8 = 2;
    const MGS: u8 = 4;

    /// Whether it is for nobody.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The bits in Lustre's form.
    pub(crate) fn number(self) -> u8 {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        bit(self.client, Self::CLIENT) | bit(self.server, Self::SERVER) | bit(self.mgs, Self::MGS)
    }

    /// `None` for bits without a meaning.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        let has = |bit: u8| number & bit != 0;
        let types = Self { client: has(Self::CLIENT), server: has(Self::SERVER), mgs: has(Self::MGS) };
        (types.number() == number).then_some(types)
    }

    /// The words of those that it has.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        let all = [(self.client, "client"), (self.server, "server"), (self.mgs, "mgs")];
        all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word)
    }
}

impl fmt::Display for KeyTypes {
    /// `client,server`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().collect::<Vec<_>>().join(","))
    }
}

/// The bytes that have so many bits; `None` if they are not whole.
pub(super) fn whole_bytes(bits: u32) -> Option<usize> {
    bits.is_multiple_of(8).then(|| usize::try_from(bits / 8).unwrap_or(usize::MAX))
}

/// The bits of so many bytes.
pub(super) fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX)
}
