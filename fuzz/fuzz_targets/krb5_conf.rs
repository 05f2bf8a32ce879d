//! krb5.conf, as we read it and as the library does.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("krb5_conf", data));
