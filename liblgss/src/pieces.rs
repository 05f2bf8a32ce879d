//! Messages in many buffers, as readv(2) has them: signed, and encrypted in place.

use std::ffi::{c_int, c_void};

use libc::iovec;

use crate::boundary::{Room, borrowed, bytes, bytes_mut, put, run};
use crate::codes::LGSS_BUFFERS_LIMIT;
use crate::context::CContext;
use crate::failure::{CError, Failure};
use crate::messages::number_of;
use crate::sizes;

/// lgss_sign for a message in `count` pieces, which are taken as one.
///
/// Errors: as lgss_sign.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_sign_iov(
    context: *const CContext,
    pieces: *const iovec,
    count: usize,
    token: *mut c_void,
    token_size: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let pieces = read_only(pieces, count, "pieces")?;
            let room = Room::of(token, token_size, sizes::mic(context.enctype()), "token")?;
            room.fill(&context.sign_pieces(&pieces)?)
        })
    }
}

/// lgss_verify for a message in `count` pieces, which are taken as one.
///
/// Errors: as lgss_verify.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_verify_iov(
    context: *const CContext,
    pieces: *const iovec,
    count: usize,
    token: *const c_void,
    token_size: usize,
    arrival: *mut c_int,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let pieces = read_only(pieces, count, "pieces")?;
            let arrived = context.verify_pieces(&pieces, bytes(token, token_size, "token")?)?;
            put(arrival, number_of(arrived));
            Ok(())
        })
    }
}

/// Encrypts a message of `count` buffers in place; they are taken as one message, and nothing is copied. The peer needs head and
/// tail, too: head, buffers and tail in this order are a token of lgss_seal.
///
/// `*head_size` and `*tail_size` say how much room there is, and afterwards how long head and tail are, lgss_bulk_sizes. No two
/// buffers may have memory in common.
///
/// Errors: as lgss_seal. The buffers are as they were then, except after LGSS_EPANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_wrap_bulk(
    context: *const CContext,
    buffers: *const iovec,
    count: usize,
    head: *mut c_void,
    head_size: *mut usize,
    tail: *mut c_void,
    tail_size: *mut usize,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let mut buffers = writable(buffers, count, "buffers")?;
            let affixes = [(head.addr(), sizes::HEAD), (tail.addr(), sizes::tail(context.enctype()))];
            let memory = affixes
                .into_iter()
                .chain(buffers.iter().map(|buffer| (buffer.as_ptr().addr(), buffer.len())));
            if head_size == tail_size || !are_apart(memory) {
                return Err(Failure::argument("buffers", "two of them, head or tail have memory in common"));
            }
            // Both tell their sizes, whichever is too small.
            let head = Room::of(head, head_size, sizes::HEAD, "head");
            let tail = Room::of(tail, tail_size, sizes::tail(context.enctype()), "tail");
            let (head, tail) = (head?, tail?);
            let affixes = context.wrap_bulk(&mut buffers)?;
            head.fill(affixes.head())?;
            tail.fill(affixes.tail())
        })
    }
}

/// Decrypts in place what the peer's lgss_wrap_bulk made: a message of `count` buffers, whose sizes need not be those of the
/// peer's.
///
/// Puts LGSS_IN_ORDER, LGSS_GAP or LGSS_LATE into `*arrival`, unless that is NULL. No two buffers may have memory in common.
///
/// Errors: as lgss_unseal. The buffers hold zeros then, unless the context could not be used at all, or an argument was wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_unwrap_bulk(
    context: *const CContext,
    buffers: *const iovec,
    count: usize,
    head: *const c_void,
    head_size: usize,
    tail: *const c_void,
    tail_size: usize,
    arrival: *mut c_int,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let context = &borrowed(context, "context")?.context;
            let mut buffers = writable(buffers, count, "buffers")?;
            let (head, tail) = (bytes(head, head_size, "head")?, bytes(tail, tail_size, "tail")?);
            let apart =
                [head, tail].into_iter().all(|affix| !buffers.iter().any(|buffer| overlap(buffer, affix)));
            if !apart {
                return Err(Failure::argument("buffers", "one has memory in common with head or tail"));
            }
            let arrived = context.unwrap_bulk(head, &mut buffers, tail)?;
            put(arrival, number_of(arrived));
            Ok(())
        })
    }
}

/// Whether no two of these addresses with lengths have a byte in common.
fn are_apart(memory: impl Iterator<Item = (usize, usize)>) -> bool {
    let mut memory: Vec<_> = memory.filter(|(_, length)| *length > 0).collect();
    memory.sort_unstable();
    memory.is_sorted_by(|(one, length), (next, _)| one.saturating_add(*length) <= *next)
}

fn overlap(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (one.as_ptr_range(), other.as_ptr_range());
    one.start < other.end && other.start < one.end
}

/// # Safety
/// As [`elements`], and the memory of each is the caller's for `'a`.
unsafe fn read_only<'a>(
    pieces: *const iovec,
    count: usize,
    name: &'static str,
) -> Result<Vec<&'a [u8]>, Failure> {
    // SAFETY: as demanded above.
    unsafe {
        let pieces = elements(pieces, count, name)?;
        pieces.iter().map(|piece| bytes(piece.iov_base, piece.iov_len, name)).collect()
    }
}

/// # Errors
/// A failure if two buffers have memory in common.
///
/// # Safety
/// As [`read_only`], and nobody else uses that memory meanwhile.
unsafe fn writable<'a>(
    buffers: *const iovec,
    count: usize,
    name: &'static str,
) -> Result<Vec<&'a mut [u8]>, Failure> {
    // SAFETY: as demanded above.
    let buffers = unsafe { elements(buffers, count, name) }?;
    let mut taken: Vec<(usize, usize)> =
        buffers.iter().filter(|buffer| buffer.iov_len > 0).map(extent).collect();
    taken.sort_unstable();
    if taken.windows(2).any(|pair| matches!(pair, [(_, end), (start, _)] if start < end)) {
        return Err(Failure::argument(name, "two have memory in common"));
    }
    // SAFETY: as demanded above, and no two are the same memory.
    unsafe { buffers.iter().map(|buffer| bytes_mut(buffer.iov_base, buffer.iov_len, name)).collect() }
}

fn extent(buffer: &iovec) -> (usize, usize) {
    let start = buffer.iov_base.addr();
    (start, start.saturating_add(buffer.iov_len))
}

/// # Errors
/// A failure if it is NULL with a count, or if there are too many, or too many bytes in all.
///
/// # Safety
/// `pointer` leads to `count` elements that live for `'a`; it may be NULL.
unsafe fn elements<'a>(
    pointer: *const iovec,
    count: usize,
    name: &'static str,
) -> Result<&'a [iovec], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::missing(name));
    }
    if count > LGSS_BUFFERS_LIMIT {
        return Err(Failure::argument(name, "there are too many"));
    }
    // SAFETY: not NULL, of a possible size, and as demanded above.
    let elements = unsafe { std::slice::from_raw_parts(pointer, count) };
    let total = elements.iter().try_fold(0_isize, |total, element| {
        isize::try_from(element.iov_len).ok().and_then(|size| total.checked_add(size))
    });
    total.map(|_| elements).ok_or_else(|| Failure::argument(name, "no message has such a size"))
}
