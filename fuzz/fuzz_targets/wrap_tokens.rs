//! Wrap tokens of RFC 4121.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("wrap_tokens", data));
