//! Declarations that build.rs generates from the system's headers, by an allow-list.
#![allow(
    missing_docs,
    unreachable_pub,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    clippy::all,
    reason = "generated; the names and the rest are the library's"
)]

include!(concat!(env!("OUT_DIR"), "/mit.rs"));
