//! Files and names of Lustre's shared keys, values on the command line of lgss_sk.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("shared_keys", data));
