//! Pointers of callers become references, and results become pointers. Everything is checked that can be: NULL, lengths,
//! text; that a pointer leads to what the header says is the caller's part.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::codes::LGSS_EPANIC;
use crate::failure::{CError, Failure};

/// Runs the body of a function, and puts a failure into words if the caller wants them.
///
/// # Safety
/// `error` is NULL or may be written to.
pub(crate) unsafe fn run(error: *mut *mut CError, body: impl FnOnce() -> Result<(), Failure>) -> c_int {
    // What a panic leaves behind is behind locks of the library, which expects it.
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(Failure::panicked()));
    let (code, told) = match result {
        Ok(()) => (0, None),
        Err(failure) => (failure.code(), Some(failure)),
    };
    if !error.is_null() {
        let told = told.map_or(ptr::null_mut(), |failure| Box::into_raw(Box::new(CError::from(failure))));
        // SAFETY: not NULL, so the caller gave it to be written to.
        unsafe { error.write(told) };
    }
    code
}

/// Runs a body that has no failure but a panic, for which it returns `otherwise`.
pub(crate) fn run_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// Runs a body whose result is a number that is not negative, or a code.
pub(crate) fn run_for_number(body: impl FnOnce() -> Result<c_int, Failure>) -> c_int {
    run_or(LGSS_EPANIC, || body().unwrap_or_else(|failure| failure.code()))
}

/// # Errors
/// A failure if it is NULL.
///
/// # Safety
/// `pointer` is NULL or leads to a `T` that lives for `'a` and that nobody changes meanwhile.
pub(crate) unsafe fn borrowed<'a, T>(pointer: *const T, name: &'static str) -> Result<&'a T, Failure> {
    // SAFETY: as demanded above.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::missing(name))
}

/// # Errors
/// A failure if it is NULL.
///
/// # Safety
/// `pointer` is NULL or leads to a `T` that lives for `'a` and that nobody else uses meanwhile.
pub(crate) unsafe fn borrowed_mut<'a, T>(pointer: *mut T, name: &'static str) -> Result<&'a mut T, Failure> {
    // SAFETY: as demanded above.
    unsafe { pointer.as_mut() }.ok_or_else(|| Failure::missing(name))
}

/// A place for a result, which is NULL (or 0) until there is one.
///
/// # Errors
/// A failure if it is NULL.
///
/// # Safety
/// `pointer` is NULL or leads to a place for a `T` that lives for `'a` and that nobody else uses meanwhile; what is there
/// need not be valid.
pub(crate) unsafe fn place<'a, T>(
    pointer: *mut T,
    empty: T,
    name: &'static str,
) -> Result<&'a mut T, Failure> {
    if pointer.is_null() {
        return Err(Failure::missing(name));
    }
    // SAFETY: as demanded above; it is written before there is a reference.
    unsafe {
        pointer.write(empty);
        Ok(&mut *pointer)
    }
}

/// A place for a result that the caller may do without.
///
/// # Safety
/// As [`place`].
pub(crate) unsafe fn put<T>(pointer: *mut T, value: T) {
    if !pointer.is_null() {
        // SAFETY: as demanded above.
        unsafe { pointer.write(value) };
    }
}

/// # Errors
/// A failure if it is NULL or no UTF-8.
///
/// # Safety
/// `pointer` is NULL or leads to text that ends with a zero and lives for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &'static str) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(Failure::missing(name));
    }
    // SAFETY: as demanded above.
    unsafe { CStr::from_ptr(pointer) }.to_str().map_err(|_| Failure::argument(name, "it is not UTF-8"))
}

/// [`text`], or `None` for NULL.
///
/// # Errors
/// A failure if it is no UTF-8.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &'static str,
) -> Result<Option<&'a str>, Failure> {
    // SAFETY: as demanded above.
    if pointer.is_null() { Ok(None) } else { unsafe { text(pointer, name) }.map(Some) }
}

/// # Errors
/// A failure if it is NULL with a size, or of a size that no buffer has.
///
/// # Safety
/// `pointer` leads to `size` bytes that live for `'a` and that nobody changes meanwhile; it may be NULL.
pub(crate) unsafe fn bytes<'a>(
    pointer: *const c_void,
    size: usize,
    name: &'static str,
) -> Result<&'a [u8], Failure> {
    if size == 0 {
        return Ok(&[]);
    }
    check_size(pointer, size, name)?;
    // SAFETY: not NULL, of a possible size, and as demanded above.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), size) })
}

/// # Errors
/// As [`bytes`].
///
/// # Safety
/// As [`bytes`], and nobody else uses them meanwhile.
pub(crate) unsafe fn bytes_mut<'a>(
    pointer: *mut c_void,
    size: usize,
    name: &'static str,
) -> Result<&'a mut [u8], Failure> {
    if size == 0 {
        return Ok(&mut []);
    }
    check_size(pointer, size, name)?;
    // SAFETY: not NULL, of a possible size, and as demanded above.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), size) })
}

fn check_size(pointer: *const c_void, size: usize, name: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::missing(name));
    }
    let past_the_end = pointer.addr().checked_add(size);
    if isize::try_from(size).is_err() || past_the_end.is_none() {
        return Err(Failure::argument(name, "no buffer has such a size"));
    }
    Ok(())
}

/// A buffer for a result, whose size says how much there is and then how much there was to say.
pub(crate) struct Room {
    data: *mut c_void,
    size: *mut usize,
    name: &'static str,
}

impl Room {
    /// A buffer with room for `needed` bytes, of which the size is told in any case.
    ///
    /// # Errors
    /// A failure if `size` is NULL, if `data` is NULL with a size, and if there is not so much room.
    ///
    /// # Safety
    /// `size` is NULL or may be read and written; `data` has so many bytes, to be written to, as long as the value lives.
    pub(crate) unsafe fn of(
        data: *mut c_void,
        size: *mut usize,
        needed: usize,
        name: &'static str,
    ) -> Result<Self, Failure> {
        // SAFETY: as demanded above.
        let size_told = unsafe { borrowed_mut(size, name) }?;
        let there = std::mem::replace(size_told, needed);
        if there < needed {
            return Err(Failure::no_room(name, needed));
        }
        if there > 0 {
            check_size(data, there, name)?;
        }
        Ok(Self { data, size, name })
    }

    /// Puts the result there. The buffer may be the one that the result was made from.
    ///
    /// # Errors
    /// A failure if it is longer than was told.
    pub(crate) fn fill(self, result: &[u8]) -> Result<(), Failure> {
        // SAFETY: `of` was told that it may be read and written.
        let size = unsafe { &mut *self.size };
        if result.len() > *size {
            return Err(Failure::argument(self.name, "the result is longer than any that was expected"));
        }
        if !result.is_empty() {
            // SAFETY: `of` was told that `data` has room for what `size` says; the result is the library's own memory.
            unsafe { ptr::copy_nonoverlapping(result.as_ptr(), self.data.cast(), result.len()) };
        }
        *size = result.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{LGSS_EINVAL, LGSS_ERANGE};

    #[test]
    fn a_panic_ends_at_the_boundary_as_a_code() {
        let mut error = ptr::null_mut();
        // SAFETY: a place for an error, and none.
        let codes =
            unsafe { [run(&raw mut error, || panic!("tried")), run(ptr::null_mut(), || panic!("tried"))] };
        assert_eq!(codes, [LGSS_EPANIC; 2]);
        // SAFETY: `run` has made it.
        let error = unsafe { Box::from_raw(error) };
        assert_eq!(error.code(), LGSS_EPANIC);
        assert_eq!(run_or(7, || panic!("tried")), 7);
        assert_eq!(run_for_number(|| panic!("tried")), LGSS_EPANIC);
    }

    #[test]
    fn a_buffer_is_filled_only_if_there_is_room_and_tells_how_much_is_needed() {
        let mut buffer = [7_u8; 4];
        let mut room = |size: &mut usize, needed: usize| {
            // SAFETY: the buffer has four bytes, and every size here is at most that.
            unsafe { Room::of(buffer.as_mut_ptr().cast(), size, needed, "buffer") }
                .map(|room| room.fill(&[1, 2, 3]))
        };
        let mut size = 2;
        assert_eq!(room(&mut size, 3).map(drop).map_err(|failure| failure.code()), Err(LGSS_ERANGE));
        assert_eq!(size, 3);
        size = 4;
        assert!(room(&mut size, 3).is_ok_and(|filled| filled.is_ok()));
        assert_eq!((size, buffer), (3, [1, 2, 3, 7]));
    }

    #[test]
    fn no_buffer_is_made_of_nothing_or_reaches_beyond_the_end_of_memory() {
        let one = [0_u8];
        let code = |pointer: *const u8, size: usize| {
            // SAFETY: what is tried here is refused before it is looked at, or is empty.
            unsafe { bytes(pointer.cast(), size, "bytes") }.map(<[u8]>::len).map_err(|failure| failure.code())
        };
        assert_eq!(code(ptr::null(), 0), Ok(0));
        assert_eq!(code(ptr::null(), 1), Err(LGSS_EINVAL));
        assert_eq!(code(one.as_ptr(), usize::MAX), Err(LGSS_EINVAL));
        assert_eq!(code(ptr::without_provenance(usize::MAX - 1), 5), Err(LGSS_EINVAL));
    }
}
