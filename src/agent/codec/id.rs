//! Names of 16 bytes for caches and credentials: a number in the order of arrival, then random bytes.

/// The name with this number; `salt` makes it unpredictable.
pub(crate) fn id_of(number: u64, salt: [u8; 8]) -> [u8; 16] {
    let mut id = [0; 16];
    let (first, rest) = id.split_at_mut(8);
    first.copy_from_slice(&number.to_be_bytes());
    rest.copy_from_slice(&salt);
    id
}

/// The number in a name.
pub(crate) fn number_of(id: [u8; 16]) -> u64 {
    id.first_chunk().map_or(0, |number| u64::from_be_bytes(*number))
}
