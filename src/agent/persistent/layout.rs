//! Names and contents of the keys that caches consist of (docs/formats.md, "Caches of lgss_agent").
//!
//! Used by this directory. Invariant: whatever another program has put into a key is parsed, or passed over.

use std::ffi::{CStr, CString};

use zeroize::Zeroizing;

use crate::agent::codec::{CacheLabel, HeldCredential, PrincipalBytes};
use crate::wire::{Reader, WireError, Writer};

/// The keyring in a persistent keyring that is the agent's.
pub(super) const AGENT: &CStr = c"_lgss_agent";
/// The token of the agent that serves these caches.
pub(super) const SERVER: &CStr = c"server";
/// The name of the default cache.
pub(super) const DEFAULT: &CStr = c"default";
/// What a cache is, besides its credentials.
pub(super) const HEAD: &CStr = c"head";

/// The format of a head.
const VERSION: u8 = 1;
/// Most bytes of a key of type `user`.
const USER_LIMIT: usize = 32_767;
/// Most bytes of a key of type `big_key`.
const BIG_KEY_LIMIT: usize = 1024 * 1024;

/// What a cache is: `u8 1 · u64 generation · u32 end · u32 clock offset · u32 length, principal · u32 length, name · u32 count,
/// u64 numbers of removed credentials`, in network byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredHead {
    /// Of two caches with one name, that with the greater generation is meant.
    pub(super) generation: u64,
    /// When the last of its tickets ends, in seconds since the epoch; 0 before the first.
    pub(super) end: u32,
    /// The difference of the KDC's clock.
    pub(super) offset: u32,
    /// Its principal, as it came.
    pub(super) principal: Vec<u8>,
    /// Its name.
    pub(super) label: CacheLabel,
    /// Credentials that are no longer in it, though their keys may be.
    pub(super) removed: Vec<u64>,
}

impl StoredHead {
    /// The key's content.
    pub(super) fn written(&self) -> Writer {
        let mut writer = Writer::new();
        writer.u8(VERSION).bytes(&self.generation.to_be_bytes()).u32_be(self.end).u32_be(self.offset);
        for bytes in [&self.principal, self.label.bytes()] {
            writer.u32_be(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).bytes(bytes);
        }
        writer.u32_be(u32::try_from(self.removed.len()).unwrap_or(u32::MAX));
        for number in &self.removed {
            writer.bytes(&number.to_be_bytes());
        }
        writer
    }

    /// Parses a key's content.
    ///
    /// # Errors
    /// [`WireError`] if it is none of this version.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(WireError::Truncated);
        }
        let (generation, end, offset) = (read_u64(&mut reader)?, reader.u32_be()?, reader.u32_be()?);
        let mut principal = Reader::new(reader.opaque_be()?);
        let whole = PrincipalBytes::read(&mut principal)?.bytes().to_vec();
        principal.finish()?;
        let label = CacheLabel::new(reader.opaque_be()?);
        let count = reader.u32_be()?;
        let removed = (0..count).map(|_| read_u64(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { generation, end, offset, principal: whole, label, removed })
    }
}

fn read_u64(reader: &mut Reader<'_>) -> Result<u64, WireError> {
    let bytes = reader.take(8)?.try_into().map_err(|_| WireError::Truncated)?;
    Ok(u64::from_be_bytes(bytes))
}

/// The type of keys that have credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketKey {
    /// `user`: in the kernel's memory, and all of it in the user's quota.
    User,
    /// `big_key`: encrypted, of which a few bytes count. Not every kernel has it.
    Big,
}

impl TicketKey {
    /// The kernel's name of it.
    pub(super) fn name(self) -> &'static CStr {
        match self {
            Self::User => c"user",
            Self::Big => c"big_key",
        }
    }

    /// Most bytes of one.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::User => USER_LIMIT,
            Self::Big => BIG_KEY_LIMIT,
        }
    }
}

/// What a key in a cache's keyring is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartName {
    /// The cache's head.
    Head,
    /// `ticket:NUMBER`, or `ticket:NUMBER:PART:PARTS` of a credential that is larger than a key. The number is hexadecimal.
    Ticket {
        /// In the order of arrival.
        number: u64,
        /// Which part, from 0.
        part: usize,
        /// How many there are.
        parts: usize,
    },
}

impl PartName {
    /// Parses a description.
    pub(super) fn read(description: &[u8]) -> Option<Self> {
        if description == HEAD.to_bytes() {
            return Some(Self::Head);
        }
        let text = std::str::from_utf8(description).ok()?.strip_prefix("ticket:")?;
        let mut words = text.split(':');
        let number = u64::from_str_radix(words.next()?, 16).ok()?;
        let (part, parts) = match (words.next(), words.next(), words.next()) {
            (None, None, None) => (0, 1),
            (Some(part), Some(parts), None) => (part.parse().ok()?, parts.parse().ok()?),
            _ => return None,
        };
        let read = Self::Ticket { number, part, parts };
        // There is one way to write each.
        (part < parts && read.written().to_bytes() == description).then_some(read)
    }

    /// The description.
    pub(super) fn written(self) -> CString {
        let text = match self {
            Self::Head => return HEAD.to_owned(),
            Self::Ticket { number, part: 0, parts: 1 } => format!("ticket:{number:x}"),
            Self::Ticket { number, part, parts } => format!("ticket:{number:x}:{part}:{parts}"),
        };
        CString::new(text).unwrap_or_default()
    }
}

/// Name of the keyring of the cache with this number.
pub(super) fn cache_name(number: u64) -> CString {
    CString::new(format!("cache:{number:x}")).unwrap_or_default()
}

/// The number in such a name.
pub(super) fn cache_number(description: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(description).ok()?.strip_prefix("cache:")?;
    let number = u64::from_str_radix(text, 16).ok()?;
    (cache_name(number).to_bytes() == description).then_some(number)
}

/// A credential's keys: the name and content of each. The last one completes it.
pub(super) fn keys_of(
    number: u64,
    credential: &HeldCredential,
    limit: usize,
) -> impl Iterator<Item = (CString, &[u8])> {
    let pieces: Vec<&[u8]> = credential.bytes().chunks(limit).collect();
    let parts = pieces.len();
    // Without the first part it does not count.
    pieces
        .into_iter()
        .enumerate()
        .rev()
        .map(move |(part, piece)| (PartName::Ticket { number, part, parts }.written(), piece))
}

/// A credential from the contents of its keys, in order.
///
/// # Errors
/// [`WireError`] if it is none.
pub(super) fn joined(pieces: &[Zeroizing<Vec<u8>>]) -> Result<HeldCredential, WireError> {
    let mut whole = Zeroizing::new(Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
    pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
    HeldCredential::new(&whole)
}

#[cfg(test)]
mod tests {
    use super::super::super::codec::tests::{Sample, principal};
    use super::*;
    use proptest::prelude::*;

    fn head() -> StoredHead {
        StoredHead {
            generation: u64::MAX - 1,
            end: 7,
            offset: u32::MAX,
            principal: principal("alice@A"),
            label: CacheLabel::new(b"1000:x"),
            removed: vec![1, u64::MAX],
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_not_with_a_byte_more_or_less() {
        let written = head().written();
        let bytes = written.as_slice();
        assert_eq!(StoredHead::read(bytes), Ok(head()));
        for length in 0..bytes.len() {
            assert!(StoredHead::read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(StoredHead::read(&[bytes, &[0]].concat()).is_err());
        let mut of_another_version = bytes.to_vec();
        of_another_version[0] = 2;
        assert!(StoredHead::read(&of_another_version).is_err());
    }

    #[test]
    fn a_name_is_read_in_the_one_way_that_it_is_written() {
        for part in [
            PartName::Head,
            PartName::Ticket { number: 0, part: 0, parts: 1 },
            PartName::Ticket { number: u64::MAX, part: 2, parts: 3 },
        ] {
            assert_eq!(PartName::read(part.written().to_bytes()), Some(part));
        }
        for other in [
            "",
            "ticket:",
            "ticket:01",
            "ticket:1:0:1",
            "ticket:1:3:3",
            "ticket:+1",
            "ticket:1:0:2:",
            "heads",
        ] {
            assert_eq!(PartName::read(other.as_bytes()), None, "{other}");
        }
        assert_eq!(cache_number(cache_name(0x2f).to_bytes()), Some(0x2f));
        assert_eq!((cache_number(b"cache:02f"), cache_number(b"_krb")), (None, None));
    }

    #[test]
    fn a_large_credential_is_split_and_its_first_part_comes_last() {
        let held = Sample { ticket: vec![9; 70_000], ..Sample::for_server("nfs/srv@A") }.held();
        let keys: Vec<_> = keys_of(5, &held, USER_LIMIT).collect();
        let names: Vec<_> = keys.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["ticket:5:2:3", "ticket:5:1:3", "ticket:5:0:3"]);
        assert!(keys.iter().all(|(_, piece)| piece.len() <= USER_LIMIT));
        let mut pieces: Vec<_> = keys.iter().rev().map(|(_, piece)| Zeroizing::new(piece.to_vec())).collect();
        assert_eq!(joined(&pieces).unwrap().bytes(), held.bytes());
        pieces.swap(0, 1);
        assert!(joined(&pieces).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_a_panic(bytes: Vec<u8>) {
            let _ = (StoredHead::read(&bytes), PartName::read(&bytes), cache_number(&bytes));
        }

        #[test]
        fn a_changed_head_is_refused_or_written_back_the_same(at: prop::sample::Index, byte: u8) {
            let mut bytes = head().written().as_slice().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = StoredHead::read(&bytes) {
                let written = read.written();
                prop_assert_eq!(written.as_slice(), &bytes[..]);
            }
        }
    }
}
