//! Names of credential caches.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("cache_names", data));
