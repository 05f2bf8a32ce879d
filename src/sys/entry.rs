//! A `main` without the standard library's preparations, which cost the requester 4 % of its wait: a signal stack and the
//! handling of SIGPIPE.

use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStringExt;

/// A program's first step: closes inherited descriptors beyond the standard ones, opens any standard one that is closed, so
/// that no file of ours takes their place, and takes the words of its command line.
///
/// # Safety
/// The program has opened nothing so far. `argv` holds `argc` pointers to writable NUL-terminated strings, as a C `main` gets
/// them.
pub unsafe fn begin(argc: i32, argv: *const *mut c_char) -> Vec<OsString> {
    const FIRST: libc::c_int = 3;
    // SAFETY: plain numbers; by this function's contract nobody in this process owns a descriptor from there on.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    for standard in 0..FIRST {
        // SAFETY: plain numbers and a constant path. A new descriptor is the lowest that is closed, which is this one.
        unsafe {
            if libc::fcntl(standard, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
    // SAFETY: by this function's contract.
    unsafe { take_words(argc, argv) }
}

/// Takes the words of the command line but the first, and zeroes them in place. They are somebody's request, and every user
/// could read them there (proc_pid_cmdline(5)).
///
/// # Safety
/// `argv` holds `argc` pointers to writable NUL-terminated strings, as a C `main` gets them.
unsafe fn take_words(argc: i32, argv: *const *mut c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    let take = |index: usize| {
        // SAFETY: by this function's contract, since `index` is below `argc`.
        let (start, length) = unsafe { (*argv.add(index), CStr::from_ptr(*argv.add(index)).count_bytes()) };
        // SAFETY: this many bytes were just found there, and nobody else uses them: this is the program's first step.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), length) };
        let word = OsString::from_vec(bytes.to_vec());
        bytes.fill(0);
        word
    };
    (1..count).map(take).collect()
}

/// Makes `$run`, which turns the words into an exit status, the program's `main`, and
/// [`heap::Heap`](crate::sys::heap::Heap) its allocator. Programs name it by the door: `private_to_lgss::entry!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    ($run:path) => {
        #[global_allocator]
        static HEAP: $crate::private_to_lgss::Heap = $crate::private_to_lgss::Heap;

        #[expect(unsafe_code, reason = "C's main, see src/sys/entry.rs")]
        #[unsafe(no_mangle)]
        extern "C" fn main(argc: i32, argv: *const *mut ::std::ffi::c_char) -> i32 {
            // SAFETY: the C library calls main with these, and before anything else.
            let words = unsafe { $crate::private_to_lgss::begin(argc, argv) };
            $crate::private_to_lgss::end($run(words.into_iter()))
        }
    };
}
#[doc(hidden)]
pub use __entry as entry;

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn words_are_read_and_nothing_of_them_is_left() {
        let mut argv =
            ["program", "lgss:1:nfs@srv", "", "svc=nfs"].map(|word| CString::new(word).unwrap().into_raw());
        // SAFETY: four strings of our own.
        let words = unsafe { take_words(4, argv.as_ptr()) };
        assert_eq!(words, ["lgss:1:nfs@srv", "", "svc=nfs"]);
        // SAFETY: each word still has its allocation, whose bytes are now all zero.
        let left = argv.each_mut().map(|word| unsafe { CStr::from_ptr(*word) }.to_bytes().to_vec());
        assert_eq!(left, [b"program".to_vec(), Vec::new(), Vec::new(), Vec::new()]);
    }

    #[test]
    fn a_command_line_without_any_word_has_none() {
        let environment = CString::new("KRB5CCNAME=FILE:/planted").unwrap().into_raw();
        // As the kernel lays it out: the end of the words, then the environment.
        let argv = [std::ptr::null_mut(), environment];
        for count in [0, -1, i32::MIN] {
            // SAFETY: no pointer is to be read.
            assert!(unsafe { take_words(count, argv.as_ptr()) }.is_empty(), "{count}");
        }
        // SAFETY: the string that was made above.
        let left = unsafe { CString::from_raw(environment) };
        assert_eq!(left.as_c_str(), c"KRB5CCNAME=FILE:/planted");
    }
}
