//! Walks through a FILE cache to find what reading it would cost: a cache made to consume memory is refused before
//! libkrb5 allocates an object for each of its parts (rule S22).
//!
//! Format: krb5 documentation, "Credential cache file format". A file that ends too early is left to the library:
//! somebody may still be writing it.

use crate::wire::{Reader, WireError};

/// Most components of a principal's name: three are usual, X.500 names have a dozen.
const FILE_COMPONENTS_LIMIT: u32 = 64;
/// Most addresses, and most restrictions, of a ticket.
const PARTS_LIMIT: u32 = 256;

/// Why a file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShapeError {
    /// Too many components in a principal.
    #[error("a name in it has more than {FILE_COMPONENTS_LIMIT} components")]
    Components,
    /// Too many addresses or restrictions in a ticket.
    #[error("a ticket in it has more than {PARTS_LIMIT} addresses or restrictions")]
    Parts,
    /// Too many tickets in this file, or in all files of the request.
    #[error("it has more tickets than are read for one request")]
    Tickets,
    /// Version 1 or 2, which is in the byte order of the machine that wrote it.
    #[error("it is of a form that has not been written since 1995")]
    OldForm,
}

/// Counts the tickets, at most `limit` of them.
///
/// # Errors
/// [`ShapeError`].
pub(super) fn count_tickets(file: &[u8], limit: usize) -> Result<usize, ShapeError> {
    let mut reader = Reader::new(file);
    let Ok(version) = header(&mut reader) else { return Ok(0) };
    // A file that is no cache is best reported by the library.
    let Some(version) = version else { return Ok(0) };
    if version < 3 {
        return Err(ShapeError::OldForm);
    }
    let mut tickets = 0;
    if ended(principal(&mut reader))? {
        return Ok(0);
    }
    while !reader.is_at_end() {
        if tickets >= limit {
            return Err(ShapeError::Tickets);
        }
        tickets += 1;
        if ended(credential(&mut reader, version))? {
            break;
        }
    }
    Ok(tickets)
}

/// Reads the header: the version, or `None` if the file is no cache.
fn header(reader: &mut Reader<'_>) -> Result<Option<u8>, WireError> {
    if reader.u8()? != 5 {
        return Ok(None);
    }
    let version = reader.u8()?;
    if version == 4 {
        let [high, low] = [reader.u8()?, reader.u8()?];
        reader.take(u16::from_be_bytes([high, low]).into())?;
    }
    Ok((1..=4).contains(&version).then_some(version))
}

/// Why a part was not read to its end.
enum Stop {
    End,
    Shape(ShapeError),
}

impl From<WireError> for Stop {
    fn from(_: WireError) -> Self {
        Self::End
    }
}

/// Whether the file ends within a part.
fn ended(part: Result<(), Stop>) -> Result<bool, ShapeError> {
    match part {
        Ok(()) => Ok(false),
        Err(Stop::End) => Ok(true),
        Err(Stop::Shape(error)) => Err(error),
    }
}

/// `u32 type · u32 count · counted realm · count times counted component`.
fn principal(reader: &mut Reader<'_>) -> Result<(), Stop> {
    reader.u32_be()?;
    let components = reader.u32_be()?;
    if components > FILE_COMPONENTS_LIMIT {
        return Err(Stop::Shape(ShapeError::Components));
    }
    (0..=components).try_for_each(|_| counted(reader))
}

/// `client · server · key · 4 u32 times · u8 · u32 flags · addresses · restrictions · counted ticket · counted ticket`.
fn credential(reader: &mut Reader<'_>, version: u8) -> Result<(), Stop> {
    const TIMES_AND_FLAGS: usize = 4 * 4 + 1 + 4;
    principal(reader)?;
    principal(reader)?;
    // The encryption type; version 3 has it twice.
    reader.take(if version == 3 { 4 } else { 2 })?;
    counted(reader)?;
    reader.take(TIMES_AND_FLAGS)?;
    for _ in 0..2 {
        let parts = reader.u32_be()?;
        if parts > PARTS_LIMIT {
            return Err(Stop::Shape(ShapeError::Parts));
        }
        for _ in 0..parts {
            reader.take(2)?;
            counted(reader)?;
        }
    }
    counted(reader)?;
    counted(reader)
}

fn counted(reader: &mut Reader<'_>) -> Result<(), Stop> {
    let length = usize::try_from(reader.u32_be()?).map_err(|_| Stop::End)?;
    reader.take(length)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(text: &[u8]) -> Vec<u8> {
        [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
    }

    fn name(components: usize) -> Vec<u8> {
        let count = u32::try_from(components).unwrap().to_be_bytes();
        [&[0, 0, 0, 1], count.as_slice(), &bytes(b"A.TEST"), &bytes(b"x").repeat(components)].concat()
    }

    fn ticket(server: usize, parts: u32) -> Vec<u8> {
        let part = [&[0, 2][..], &bytes(b"abcd")].concat().repeat(parts as usize);
        let addresses = [&parts.to_be_bytes()[..], &part].concat();
        let key = [&[0, 18][..], &bytes(&[7; 32])].concat();
        [name(1), name(server), key, vec![0; 21], addresses, vec![0; 4], bytes(&[9; 200]), bytes(b"")]
            .concat()
    }

    fn file(tickets: &[Vec<u8>]) -> Vec<u8> {
        [&[5, 4, 0, 12][..], &[0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0], &name(1), &tickets.concat()].concat()
    }

    #[test]
    fn tickets_are_counted() {
        assert_eq!(count_tickets(&file(&[]), 10), Ok(0));
        assert_eq!(count_tickets(&file(&vec![ticket(2, 0); 7]), 7), Ok(7));
        assert_eq!(count_tickets(&file(&vec![ticket(12, 5); 7]), 6), Err(ShapeError::Tickets));
        for no_cache in [&b""[..], b"x", b"\x05", b"\x05\x09", b"\x05\x04\xff\xff"] {
            assert_eq!(count_tickets(no_cache, 1), Ok(0), "{no_cache:?}");
        }
        assert_eq!(count_tickets(b"\x05\x01abc", 1), Err(ShapeError::OldForm));
    }

    #[test]
    fn what_costs_memory_beyond_its_size_is_refused() {
        assert_eq!(count_tickets(&file(&[ticket(2, 0), ticket(60_000, 0)]), 10), Err(ShapeError::Components));
        assert_eq!(count_tickets(&file(&[ticket(2, 60_000)]), 10), Err(ShapeError::Parts));
        let owner = [&[5, 4, 0, 0][..], &name(60_000)].concat();
        assert_eq!(count_tickets(&owner, 10), Err(ShapeError::Components));
    }

    proptest! {
        #[test]
        fn a_file_that_is_cut_or_changed_is_counted_or_refused(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
            let mut content = file(&vec![ticket(2, 1); 5]);
            let at = at % content.len();
            content[at] = byte;
            content.truncate(cut);
            prop_assert!(count_tickets(&content, 100).is_ok_and(|count| count <= 100) || count_tickets(&content, 100).is_err());
        }
    }
}
