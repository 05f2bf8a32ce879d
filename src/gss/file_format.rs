//! Tickets as a FILE cache holds them, version 4 (krb5 documentation, "Credential cache file format").
//!
//! The library writes this format to files only, and the worker has no file to write to.

use std::slice;

use super::ffi;
use super::principal::{bytes, components};
use crate::secret::Secret;
use crate::wire::{WireError, Writer};

/// `05 04`, and no header fields.
const VERSION_4: [u8; 4] = [5, 4, 0, 0];
/// Room for the parts of an entry that have a fixed length.
const FIXED_ROOM: usize = 512;

/// A cache of the client with these entries.
///
/// # Errors
/// A field is longer than the format allows.
///
/// # Safety
/// The client and all entries are alive and the library's.
pub(super) unsafe fn write(
    client: ffi::krb5_const_principal,
    entries: &[&ffi::krb5_creds],
) -> Result<Secret, WireError> {
    // SAFETY: by the caller's promise, here and below.
    let room: usize = entries.iter().map(|entry| unsafe { size(entry) } + FIXED_ROOM).sum();
    // Room for all of it: a buffer that grows leaves session keys behind in memory.
    let mut file = Writer::with_capacity(FIXED_ROOM + room);
    file.bytes(&VERSION_4);
    // SAFETY: as said.
    unsafe { principal(&mut file, client)? };
    for entry in entries {
        // SAFETY: as said.
        unsafe { credential(&mut file, entry)? };
    }
    Ok(Secret::new(file.as_slice().to_vec()))
}

/// About how many bytes the fields of variable length take.
///
/// # Safety
/// The entry is alive and the library's.
unsafe fn size(entry: &ffi::krb5_creds) -> usize {
    // SAFETY: by the caller's promise.
    let fields = unsafe {
        [entry.client, entry.server].map(|principal| components(principal).into_iter().flatten().count())
    };
    let lengths = [entry.ticket.length, entry.second_ticket.length, entry.keyblock.length];
    let lengths = lengths.into_iter().filter_map(|length| usize::try_from(length).ok());
    fields.into_iter().chain(lengths).sum()
}

/// # Safety
/// The entry is alive and the library's.
unsafe fn credential(file: &mut Writer, entry: &ffi::krb5_creds) -> Result<(), WireError> {
    // SAFETY: by the caller's promise; a key block has as many bytes as it says.
    unsafe {
        principal(file, entry.client)?;
        principal(file, entry.server)?;
        let key = &entry.keyblock;
        number16(file, key.enctype);
        counted(file, raw(key.contents, key.length))?;
    }
    let times = &entry.times;
    for time in [times.authtime, times.starttime, times.endtime, times.renew_till] {
        file.u32_be(time.cast_unsigned());
    }
    file.u8(u8::from(entry.is_skey != 0)).u32_be(entry.ticket_flags.cast_unsigned());
    // SAFETY: by the caller's promise; both lists are null or end with null, their elements have as many bytes as they
    // say.
    unsafe {
        let addresses = list(entry.addresses);
        file.u32_be(count(addresses.len())?);
        for address in addresses {
            number16(file, address.addrtype);
            counted(file, raw(address.contents, address.length))?;
        }
        let restrictions = list(entry.authdata);
        file.u32_be(count(restrictions.len())?);
        for restriction in restrictions {
            number16(file, restriction.ad_type);
            counted(file, raw(restriction.contents, restriction.length))?;
        }
        counted(file, bytes(&entry.ticket))?;
        counted(file, bytes(&entry.second_ticket))
    }
}

/// # Safety
/// The principal is alive and the library's.
unsafe fn principal(file: &mut Writer, principal: ffi::krb5_const_principal) -> Result<(), WireError> {
    // SAFETY: by the caller's promise.
    let (kind, realm, components) =
        unsafe { ((*principal).type_, bytes(&(*principal).realm), components(principal)) };
    file.u32_be(kind.cast_unsigned()).u32_be(count(components.len())?);
    counted(file, realm)?;
    components.into_iter().try_for_each(|component| counted(file, component))
}

fn counted(file: &mut Writer, bytes: &[u8]) -> Result<(), WireError> {
    file.u32_be(count(bytes.len())?).bytes(bytes);
    Ok(())
}

fn count(length: usize) -> Result<u32, WireError> {
    u32::try_from(length).map_err(|_| WireError::TooLong(length, u32::MAX as usize))
}

/// The low sixteen bits. Every number in use fits.
fn number16(file: &mut Writer, number: i32) {
    let [_, _, high, low] = number.to_be_bytes();
    file.bytes(&[high, low]);
}

/// # Safety
/// `contents` is null or points to `length` bytes.
unsafe fn raw<'a>(contents: *const u8, length: u32) -> &'a [u8] {
    let length = usize::try_from(length).unwrap_or_default();
    if contents.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: by the caller's promise.
    unsafe { slice::from_raw_parts(contents, length) }
}

/// # Safety
/// `first` is null, or the first of a list of pointers to live objects that ends with a null pointer.
unsafe fn list<'a, T>(first: *const *mut T) -> Vec<&'a T> {
    let mut found = Vec::new();
    if first.is_null() {
        return found;
    }
    for at in 0.. {
        // SAFETY: by the caller's promise; nothing after the null pointer is read.
        match unsafe { (*first.add(at)).as_ref() } {
            Some(element) => found.push(element),
            None => break,
        }
    }
    found
}
