//! Answers of Lustre's servers, by way of `init_channel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("init_channel", data));
