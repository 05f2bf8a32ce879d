//! MIT Kerberos itself: caches, keytabs, krb5.conf, tokens of servers, names.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("libkrb5", data));
