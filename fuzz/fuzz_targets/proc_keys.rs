//! What the kernel says of keys: /proc/keys, /proc/key-users, KEYCTL_DESCRIBE.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("proc_keys", data));
