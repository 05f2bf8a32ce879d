//! What the monitor tells the worker about a network identifier.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Lustre;
use crate::nid::Nid;

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
    /// Whether an unconfirmed name is accepted (rule S17).
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
