//! A `main` without the preparations of the standard library, which cost the requester 4 % of its wait: a signal
//! stack, the handling of SIGPIPE, checks of the standard descriptors. The kernel has prepared all of that.

use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStringExt;

/// The words of the command line but the first.
///
/// # Safety
/// `argv` holds `argc` pointers to NUL-terminated strings, as a C `main` gets them.
pub unsafe fn words(argc: i32, argv: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    let word = |index: usize| {
        // SAFETY: by this function's contract, since `index` is below `argc`.
        let word = unsafe { CStr::from_ptr(*argv.add(index)) };
        OsString::from_vec(word.to_bytes().to_vec())
    };
    (1..count).map(word).collect()
}

/// Makes `$run`, from the words to the exit status, the program's `main`.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        #[expect(unsafe_code, reason = "C's main, see lgss::sys::entry")]
        #[unsafe(no_mangle)]
        extern "C" fn main(argc: i32, argv: *const *const ::std::ffi::c_char) -> i32 {
            // SAFETY: the C library calls main with these.
            let words = unsafe { $crate::sys::entry::words(argc, argv) };
            $crate::sys::process::end($run(words.into_iter()))
        }
    };
}
