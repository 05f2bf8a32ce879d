//! Requests: `u32 length · u8 2 · u8 0 · u16 opcode · parameters`, in network byte order.

use std::fmt;

use super::credential::HeldCredential;
use super::pattern::Pattern;
use super::principal::PrincipalBytes;
use crate::text::quoted;
use crate::wire::{Reader, WireError};

/// Longest name of a cache, in bytes.
const LABEL_LIMIT: usize = 255;
/// The protocol's version: 2.0.
const VERSION: [u8; 2] = [2, 0];

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestFault {
    /// Another version of the protocol.
    #[error("version {0}.{1} of the protocol, not 2.0")]
    Version(u8, u8),
    /// Its parameters are not the operation's.
    #[error("malformed: {0}")]
    Parameters(#[from] WireError),
}

/// The beginning of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of parameters.
    pub(crate) parameters: usize,
    /// Which operation.
    pub(crate) opcode: Opcode,
}

impl Header {
    /// Its size in bytes.
    pub(crate) const SIZE: usize = 8;

    /// Reads one.
    ///
    /// # Errors
    /// [`RequestFault`]; what follows cannot be understood then.
    pub(crate) fn read(bytes: [u8; Self::SIZE]) -> Result<Self, RequestFault> {
        let [a, b, c, d, major, minor, high, low] = bytes;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if [major, minor] != VERSION {
            return Err(RequestFault::Version(major, minor));
        }
        let parameters = length.checked_sub(4).ok_or(WireError::Truncated)?;
        Ok(Self { parameters, opcode: Opcode(u16::from_be_bytes([high, low])) })
    }
}

/// The number of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opcode(pub(crate) u16);

impl Opcode {
    /// Replaces a whole cache: the one operation whose requests may be large.
    pub(crate) const REPLACE: Self = Self(13002);
}

/// The name of a cache, which follows `KCM:` in a client's words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CacheLabel(Vec<u8>);

impl CacheLabel {
    /// From bytes without NUL.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.until_nul(LABEL_LIMIT).map(Self::new)
    }

    /// Its bytes, none for the default cache.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for CacheLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KCM:{}", quoted(&String::from_utf8_lossy(&self.0)))
    }
}

impl fmt::Debug for CacheLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names a cache while it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CacheId(pub(crate) [u8; 16]);

/// A request. Credentials are bytes: whoever keeps one parses it.
pub(crate) enum KcmRequest<'a> {
    /// Nothing.
    Noop,
    /// A name that no cache has.
    GenerateName,
    /// Makes a cache, or empties one.
    Initialize { label: CacheLabel, principal: PrincipalBytes<'a> },
    /// Removes a cache.
    Destroy { label: CacheLabel },
    /// Adds a credential.
    Store { label: CacheLabel, credential: &'a [u8] },
    /// The first credential that matches.
    Retrieve { label: CacheLabel, pattern: Pattern<'a> },
    /// The cache's principal.
    Principal { label: CacheLabel },
    /// The names of its credentials.
    CredentialIds { label: CacheLabel },
    /// One of them.
    CredentialById { label: CacheLabel, id: [u8; 16] },
    /// All of them.
    Credentials { label: CacheLabel },
    /// Removes what matches.
    Remove { label: CacheLabel, pattern: Pattern<'a> },
    /// Gives a cache the name of another, whose place it takes.
    Move { from: CacheLabel, to: CacheLabel },
    /// The caches.
    CacheIds,
    /// The name of one of them.
    CacheById { id: CacheId },
    /// The name of the default cache.
    Default,
    /// Makes a cache the default one.
    SetDefault { label: CacheLabel },
    /// The difference of the KDC's clock.
    Offset { label: CacheLabel },
    /// Sets it.
    SetOffset { label: CacheLabel, offset: u32 },
    /// Puts a whole cache in the place of what had the name.
    Replace { label: CacheLabel, offset: u32, principal: PrincipalBytes<'a>, credentials: Vec<&'a [u8]> },
    /// An operation that is not there.
    Unknown,
}

impl<'a> KcmRequest<'a> {
    /// Parses the parameters of an operation.
    ///
    /// # Errors
    /// [`RequestFault::Parameters`].
    pub(crate) fn parse(opcode: Opcode, parameters: &'a [u8]) -> Result<Self, RequestFault> {
        let mut reader = Reader::new(parameters);
        let request = Self::read(opcode, &mut reader)?;
        // Whatever follows an unknown operation.
        if !matches!(request, Self::Unknown) {
            reader.finish()?;
        }
        Ok(request)
    }

    fn read(opcode: Opcode, reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match opcode.0 {
            0 => Self::Noop,
            3 => Self::GenerateName,
            18 => Self::CacheIds,
            19 => Self::CacheById { id: CacheId(read_id(reader)?) },
            20 => Self::Default,
            4..=11 | 17 | 21..=23 | 13001 | 13002 => {
                let label = CacheLabel::read(reader)?;
                Self::read_of_cache(opcode, label, reader)?
            }
            _ => Self::Unknown,
        })
    }

    fn read_of_cache(opcode: Opcode, label: CacheLabel, reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match opcode.0 {
            4 => Self::Initialize { label, principal: PrincipalBytes::read(reader)? },
            5 => Self::Destroy { label },
            6 => Self::Store { label, credential: reader.rest() },
            7 => Self::Retrieve { label, pattern: Pattern::read(reader)? },
            8 => Self::Principal { label },
            9 => Self::CredentialIds { label },
            10 => Self::CredentialById { label, id: read_id(reader)? },
            11 => Self::Remove { label, pattern: Pattern::read(reader)? },
            17 => Self::Move { from: label, to: CacheLabel::read(reader)? },
            21 => Self::SetDefault { label },
            22 => Self::Offset { label },
            23 => Self::SetOffset { label, offset: reader.u32_be()? },
            13001 => Self::Credentials { label },
            13002 => Self::read_replacement(label, reader)?,
            _ => Self::Unknown,
        })
    }

    fn read_replacement(label: CacheLabel, reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (offset, principal) = (reader.u32_be()?, PrincipalBytes::read(reader)?);
        // A count without credentials ends at the first that is not there.
        let count = reader.u32_be()?;
        let credential = |_| {
            let bytes = reader.opaque_be()?;
            // So that a request leads to a list of a bounded size.
            if bytes.len() < HeldCredential::SHORTEST { Err(WireError::Truncated) } else { Ok(bytes) }
        };
        let credentials = (0..count).map(credential).collect::<Result<_, _>>()?;
        Ok(Self::Replace { label, offset, principal, credentials })
    }
}

fn read_id(reader: &mut Reader<'_>) -> Result<[u8; 16], WireError> {
    reader.take(16)?.try_into().map_err(|_| WireError::Truncated)
}
