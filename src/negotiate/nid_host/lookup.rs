//! A network identifier with its settings, as the monitor hands it to the worker.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Lustre;
use crate::nid::Nid;

/// One identifier with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLookup {
    /// The identifier.
    pub nid: Nid,
    /// The host name that lgss.toml has for it.
    pub configured: Option<String>,
    /// The host name that the site's hook has for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<String>,
    /// The site's program for identifiers without IP address.
    pub program: PathBuf,
    /// Whether an unconfirmed name is accepted (rule S17).
    pub trust_unconfirmed_names: bool,
}

impl HostLookup {
    /// `nid` with its settings.
    pub fn new(nid: Nid, settings: &Lustre) -> Self {
        Self {
            nid,
            configured: settings.nids.get(&nid).cloned(),
            proposed: None,
            program: settings.nid2hostname.clone(),
            trust_unconfirmed_names: settings.trust_unconfirmed_names,
        }
    }
}
