//! Payloads of `user` keys, and contexts as workers report them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("payloads", data));
