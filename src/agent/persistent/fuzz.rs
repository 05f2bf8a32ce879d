//! Checks for the fuzz targets (docs/fuzzing.md): names and contents of keys, which any program of the user's can have written.

use super::layout::{PartName, StoredHead, cache_name, cache_number};

/// A head, and the names of a cache and of a credential's part: what is accepted is written back the same.
pub(in crate::agent) fn stored(data: &[u8]) {
    if let Ok(head) = StoredHead::read(data) {
        assert_eq!(head.written().as_slice(), data);
    }
    if let Some(part) = PartName::read(data) {
        assert_eq!(part.written().to_bytes(), data);
    }
    if let Some(number) = cache_number(data) {
        assert_eq!(cache_name(number).to_bytes(), data);
    }
}
