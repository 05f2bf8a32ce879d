//! Netstrings, and tokens of the mechanism sk.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("sk_tokens", data));
