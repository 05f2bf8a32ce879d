//! Where credentials come from: names of credential caches, the default one, and opening them safely.
//!
//! Used by the launcher, which has no Kerberos library; the worker gets what was opened.
#![forbid(unsafe_code)]

pub mod cache_name;
pub mod default_cache;
pub mod open;
