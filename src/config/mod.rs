//! lgss.toml: the settings, their defaults, and the rule that only root may have written the file.
//!
//! Read by the monitor and the tools, never by the front. A missing file means the defaults. An unknown key is an
//! error, so that a mistyped setting does not go unnoticed. lgss.toml(5) describes every key.
#![forbid(unsafe_code)]

mod agent;
mod caches;
mod canonicalize;
mod choose;
mod duration;
mod enctypes;
#[cfg(feature = "test-programs")]
pub mod fuzz;
mod hooks;
mod load;
mod lustre;
mod namespace;
mod sandbox;
mod settings;

pub(crate) use agent::{AgentScope, AgentSettings, AgentStorage};
pub(crate) use caches::{CacheChoice, Caches, Krb5CcName};
pub(crate) use canonicalize::Canonicalize;
pub(crate) use duration::Seconds;
pub use enctypes::Enctypes;
pub(crate) use hooks::{HookName, Hooks};
pub(crate) use load::{ConfigError, settings_file};
pub(crate) use lustre::{Lustre, MachineCachePlace};
pub(crate) use namespace::NamespaceTraits;
pub(crate) use sandbox::WorkerSandbox;
pub(crate) use settings::{Backoff, Limits, Log, LogLevel, MOUNT_CEILING, Timeouts};
pub use settings::{CEILING, Config};
