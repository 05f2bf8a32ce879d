//! Settings of Lustre's contexts: credentials of the node, names of network identifiers, what differs by file system.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::nid::Nid;

const NOT_A_REALM: &str = "realm: not the name of a realm";

/// Credentials of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// Keys of the node's principals.
    pub keytab: PathBuf,
    /// Where tickets from the keytab are kept.
    pub cache: MachineCache,
}

/// A place for tickets from the keytab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineCache {
    /// A file of ours below the run directory.
    Own,
    /// Root's default credential cache.
    Default,
}

/// What concerns Lustre only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lustre {
    /// Realm of the node's principals; empty for the default realm of krb5.conf.
    pub realm: String,
    /// Program that finds the host name of an identifier that has no IP address.
    pub nid2hostname: PathBuf,
    /// Whether a name that an address has is taken without looking whether it leads back to the address (rule S17).
    pub trust_unconfirmed_names: bool,
    /// Host names of network identifiers, which come before all other sources.
    pub nids: BTreeMap<Nid, String>,
}

/// What differs for one file system; absent is as for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct FileSystem {
    /// Realm of the node's principals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Keys of the node's principals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keytab: Option<PathBuf>,
    /// The one principal that this node is to a client's root requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self { keytab: "/etc/krb5.keytab".into(), cache: MachineCache::Own }
    }
}

impl Default for Lustre {
    fn default() -> Self {
        Self {
            realm: String::new(),
            nid2hostname: "/etc/lustre/nid2hostname".into(),
            trust_unconfirmed_names: false,
            nids: BTreeMap::new(),
        }
    }
}

impl Lustre {
    /// What is wrong with these settings besides paths.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if self.nids.values().any(|name| !is_word(name)) {
            return Some("lustre.nids: not a host name");
        }
        let realm = &self.realm;
        (!realm.is_empty() && !is_word(realm)).then_some(NOT_A_REALM)
    }
}

impl FileSystem {
    /// What is wrong with these settings besides paths.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        let is_wrong = |name: &Option<String>| name.as_deref().is_some_and(|name| !is_word(name));
        if is_wrong(&self.realm) {
            return Some(NOT_A_REALM);
        }
        is_wrong(&self.principal).then_some("principal: not the name of a principal")
    }
}

/// Printable ASCII without spaces, which all names here are of.
pub(super) fn is_word(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn names_of_network_identifiers_are_read_and_written() {
        let text = "[lustre.nids]\n\"10.0.0.1@tcp\" = \"mds1.example.com\"\n";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.lustre.nids.get(&"10.0.0.1@tcp".parse().unwrap()).unwrap(), "mds1.example.com");
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
    }
}
