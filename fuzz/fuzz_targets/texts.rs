//! Texts of others, made fit to be shown.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("texts", data));
