//! Which host a network identifier belongs to: what the monitor tells the worker for that, and how the worker finds it.
//!
//! Kerberos names servers by host, Lustre by network identifier. The monitor, which alone reads lgss.toml, makes a
//! [`HostLookup`]; the worker, which alone talks to the name service and runs the site's program, resolves it.

#[cfg(feature = "gss")]
mod find;
#[cfg(feature = "gss")]
mod program;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Lustre;
use crate::nid::Nid;

#[cfg(feature = "gss")]
pub use find::{NameService, SystemNames, own_host};

/// One identifier, and what the settings say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLookup {
    /// The identifier.
    pub nid: Nid,
    /// The host name that lgss.toml has for it.
    pub configured: Option<String>,
    /// The site's program for identifiers without IP address.
    pub program: PathBuf,
    /// Whether an unconfirmed name will do (rule S17).
    pub trust_unconfirmed_names: bool,
}

impl HostLookup {
    /// What the settings say about `nid`.
    pub fn new(nid: Nid, settings: &Lustre) -> Self {
        Self {
            nid,
            configured: settings.nids.get(&nid).cloned(),
            program: settings.nid2hostname.clone(),
            trust_unconfirmed_names: settings.trust_unconfirmed_names,
        }
    }
}
