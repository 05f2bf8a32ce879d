//! lgss.toml: the settings, their defaults, and the rule that only root may have written the file.
//!
//! Read by the monitor and the tools, never by the front. Absent means the defaults; an unknown key is an error, so
//! that a mistyped setting is not silently without effect. Every key is described in lgss.toml(5).
#![forbid(unsafe_code)]

mod caches;
mod canonicalize;
mod choose;
mod duration;
mod enctypes;
mod load;
mod lustre;
mod namespace;
mod settings;

pub(crate) use caches::{Caches, Choice, Krb5CcName};
pub(crate) use canonicalize::Canonicalize;
pub(crate) use duration::Seconds;
pub use enctypes::Enctypes;
#[cfg(feature = "tools")]
pub(crate) use load::ConfigError;
pub(crate) use load::DEFAULT_PATH;
pub(crate) use lustre::{Lustre, MachineCache};
pub(crate) use namespace::NamespaceTraits;
pub(crate) use settings::{Backoff, Level, Limits, Log, MOUNT_CEILING, Timeouts};
pub use settings::{CEILING, Config};
