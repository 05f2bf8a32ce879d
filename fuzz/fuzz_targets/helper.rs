//! What comes by the pipe to lgss_helper and from it, and the log that it reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("helper", data));
