//! /etc/passwd and `.k5identity`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("user_files", data));
