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

pub use caches::{Caches, Choice, Krb5CcName};
pub use canonicalize::Canonicalize;
pub use duration::Seconds;
pub use enctypes::Enctypes;
#[cfg(feature = "tools")]
pub use load::ConfigError;
pub use load::DEFAULT_PATH;
pub use lustre::{Lustre, MachineCache};
pub use namespace::NamespaceTraits;
pub use settings::{Backoff, CEILING, Config, Level, Limits, Log, MOUNT_CEILING, Timeouts};
