//! Messages of a worker to the monitor, and the list of sources that it gets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("worker_messages", data));
