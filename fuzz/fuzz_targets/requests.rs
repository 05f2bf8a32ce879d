//! Callouts and descriptions of both consumers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("requests", data));
