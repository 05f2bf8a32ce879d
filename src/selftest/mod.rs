//! Whether requests could be answered here: the installed files, the settings, and our programs tried without a
//! request.
//!
//! Called by `lgss_keyring --self-check`, by `lgss config check`, which looks at more, and by the worker's own test.
//! Invariant: nothing is changed, and a rule about a file is here once.
#![forbid(unsafe_code)]

pub(crate) mod account;
pub(crate) mod finding;
#[cfg(feature = "test-programs")]
pub mod fuzz;
pub(crate) mod kernel;
pub(crate) mod run_dir;
pub(crate) mod settings;
mod streams;
pub(crate) mod trial;
pub(crate) mod trusted;
pub(crate) mod upcall_file;
pub(crate) mod worker;
