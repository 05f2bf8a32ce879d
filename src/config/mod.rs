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
pub use choose::MachineSettings;
pub use duration::Seconds;
pub use enctypes::Enctypes;
pub use load::{ConfigError, DEFAULT_PATH};
pub use lustre::{FileSystem, Lustre, Machine, MachineCache};
pub use namespace::{Namespace, NamespaceTraits};
pub use settings::{Backoff, CEILING, Config, Kerberos, Level, Limits, Log, MOUNT_CEILING, Timeouts};
