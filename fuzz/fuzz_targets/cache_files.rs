//! Credential caches in files and keys, ours and the library's reading of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("cache_files", data));
