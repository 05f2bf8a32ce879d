//! lgss.toml and network identifiers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("settings", data));
