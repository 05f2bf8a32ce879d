//! Messages of the monitor to a worker.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lgss_fuzz::check("monitor_messages", data));
