//! The beginning of the first key's payload: what the whole cache is to be. Integers in host byte order, since a key
//! never leaves its machine:
//!
//! `u32 1 · u32 length of the cache · SHA-256 of the cache · u32 number of parts · i32 serial of each part`
//!
//! The first bytes of the cache follow, up to the end of the payload; the parts hold the rest.

use sha2::{Digest, Sha256};

use crate::key::KeySerial;
use crate::wire::{Reader, Writer};

/// Longest payload in bytes. A key of type `user` holds 32767, but an update takes no more than a page.
pub(super) const PAYLOAD_BYTES: usize = 4096;
/// Most keys beside the first one. The monitor's filter of system calls has room for twice as many.
pub(crate) const PARTS_LIMIT: usize = 30;
/// What the first key holds of a cache at most.
pub(super) const FIRST_BYTES: usize = PAYLOAD_BYTES - FIXED_BYTES - 4 * PARTS_LIMIT;

const FIXED_BYTES: usize = 4 + 4 + SUM_BYTES + 4;
const SUM_BYTES: usize = 32;
const VERSION: u32 = 1;

/// What the first key says of a cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CacheHead {
    pub(super) length: usize,
    pub(super) sum: [u8; SUM_BYTES],
    pub(super) parts: Vec<KeySerial>,
}

impl CacheHead {
    /// Of a cache whose rest is in these parts.
    pub(super) fn of(cache: &[u8], parts: Vec<KeySerial>) -> Self {
        Self { length: cache.len(), sum: Sha256::digest(cache).into(), parts }
    }

    /// Reads it, and the bytes that follow.
    pub(super) fn decode(payload: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(payload);
        let version = reader.u32_host().ok()?;
        let length = usize::try_from(reader.u32_host().ok()?).ok()?;
        let sum = reader.take(SUM_BYTES).ok()?.try_into().ok()?;
        let count = usize::try_from(reader.u32_host().ok()?).ok()?;
        if version != VERSION || count > PARTS_LIMIT {
            return None;
        }
        let serial = |_| KeySerial::new(reader.u32_host().ok()?.cast_signed());
        let parts = (0..count).map(serial).collect::<Option<Vec<_>>>()?;
        Some((Self { length, sum, parts }, reader.rest()))
    }

    /// Writes it, and the bytes that follow.
    pub(super) fn encode(&self, first: &[u8]) -> Writer {
        let mut writer = Writer::with_capacity(PAYLOAD_BYTES);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        writer.u32_host(VERSION).u32_host(number(self.length)).bytes(&self.sum);
        writer.u32_host(number(self.parts.len()));
        for part in &self.parts {
            writer.i32_host(part.raw());
        }
        writer.bytes(first);
        writer
    }

    /// Whether this is the cache.
    pub(super) fn is_of(&self, cache: &[u8]) -> bool {
        self.length == cache.len() && self.sum == <[u8; SUM_BYTES]>::from(Sha256::digest(cache))
    }
}

/// Number of parts beside the first key for a cache of this length.
pub(super) fn parts_for(length: usize) -> usize {
    length.saturating_sub(FIRST_BYTES).div_ceil(PAYLOAD_BYTES)
}

/// How much of a cache so many parts take together with the first key.
pub(super) fn room_in(parts: usize) -> usize {
    FIRST_BYTES + parts * PAYLOAD_BYTES
}

/// Checks for a fuzz target that a payload is written as it was read.
#[cfg(feature = "test-programs")]
pub(crate) fn is_written_as_read(payload: &[u8]) {
    if let Some((head, first)) = CacheHead::decode(payload) {
        assert_eq!(head.encode(first).as_slice(), payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_everything_else_refused() {
        let parts: Vec<_> = [5, 7].into_iter().filter_map(KeySerial::new).collect();
        let head = CacheHead::of(b"tickets", parts);
        let payload = head.encode(b"tick");
        let (read, first) = CacheHead::decode(payload.as_slice()).unwrap();
        assert_eq!((&read, first), (&head, &b"tick"[..]));
        assert!(read.is_of(b"tickets") && !read.is_of(b"tickett") && !read.is_of(b"ticket"));
        for length in 0..payload.as_slice().len() - 4 {
            assert!(CacheHead::decode(&payload.as_slice()[..length]).is_none(), "{length}");
        }
        for (at, byte) in [(0, 9), (40, 31), (44, 0)] {
            let mut bad = payload.as_slice().to_vec();
            bad[at] = byte;
            assert!(CacheHead::decode(&bad).is_none(), "{at}");
        }
    }

    #[test]
    fn parts_hold_what_the_first_key_does_not() {
        assert_eq!((parts_for(0), parts_for(FIRST_BYTES), parts_for(FIRST_BYTES + 1)), (0, 0, 1));
        for parts in 0..=PARTS_LIMIT {
            assert_eq!((parts_for(room_in(parts)), parts_for(room_in(parts) + 1)), (parts, parts + 1));
        }
    }
}
