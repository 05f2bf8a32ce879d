//! Replies to calls that a context protects.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("rpc_gss_replies", data));
