//! Declarations made by build.rs from the system's headers, an allow-list of them.
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
