//! Files below /run/lgss, and owners in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("run_files", data));
