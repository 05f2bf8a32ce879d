//! The library for C programs: `lgss::security` behind opaque types and error codes, as `lgss.h` declares it and lgss(3)
//! explains it.
//!
//! Called by C. Invariants: no panic leaves a function; NULL and senseless arguments are errors; a function that fails for
//! want of room has used no number of a context. The documentation of a function is its comment in the header.
//!
//! `boundary` and `failure` know about pointers; every other function has one `unsafe` block around its body, which rests
//! on what the header demands of callers.
#![expect(
    clippy::missing_safety_doc,
    reason = "the header demands the same of every pointer, at its beginning"
)]

mod boundary;
pub mod codes;
pub mod context;
pub mod failure;
pub mod flush;
pub mod messages;
pub mod pending;
pub mod pieces;
pub mod request;
pub mod reverse;
pub mod security;
pub mod sizes;

use std::ffi::{CStr, c_char};

const VERSION: &CStr = c"0.1.0";

// C programs pass these between threads, where the compiler does not look.
const _: fn() = || {
    fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<security::CSecurity>();
    crosses_threads::<context::CContext>();
    crosses_threads::<pending::CPending>();
    crosses_threads::<request::CRequest>();
    crosses_threads::<failure::CError>();
};

/// The version of the library that the program runs with, such as "0.1.0".
///
/// Returns text that lives as long as the process. Any thread may call it.
#[unsafe(no_mangle)]
pub extern "C" fn lgss_version() -> *const c_char {
    VERSION.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_package() {
        assert_eq!(VERSION.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}
