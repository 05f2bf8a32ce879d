//! Requests of KCM, credentials, and what they lead to.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("kcm", data));
