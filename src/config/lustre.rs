//! Settings for Lustre: the machine's credentials, host names of network identifiers, exceptions for single file
//! systems.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::hooks::HookChoice;
use crate::class::classes;
use crate::nid::Nid;

const NOT_A_REALM: &str = "realm: not the name of a realm";

/// The machine's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// Keytab of the machine's principals.
    pub keytab: PathBuf,
    /// Where tickets got by the keytab are kept.
    pub cache: MachineCachePlace,
}

/// A place for tickets got by the keytab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineCachePlace {
    /// A file below the run directory.
    Own,
    /// Keys in root's user keyring.
    Keyring,
    /// Root's default credential cache.
    Default,
}

/// Settings for Lustre only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lustre {
    /// Realm of the machine's principals; empty for the default realm of krb5.conf.
    pub realm: String,
    /// Program that finds the host name of a network identifier without an IP address.
    pub nid2hostname: PathBuf,
    /// Hook that is asked for the host name of any other network identifier first.
    pub nid_hook: HookChoice,
    /// Accept the name of an address without checking that it leads back to the address (rule S17).
    pub trust_unconfirmed_names: bool,
    /// Host names of network identifiers; they come before all other sources.
    pub nids: BTreeMap<Nid, String>,
}

/// Exceptions for one file system; an absent setting is as for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct FileSystem {
    /// Realm of the machine's principals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Keytab of the machine's principals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keytab: Option<PathBuf>,
    /// The only principal for root's requests on a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

classes!(Machine { keytab: public, cache: public });
classes!(Lustre {
    realm: public,
    nid2hostname: public,
    nid_hook: public,
    trust_unconfirmed_names: public,
    nids: public
});
classes!(FileSystem { realm: public, keytab: public, principal: public });

impl Default for Machine {
    fn default() -> Self {
        Self { keytab: "/etc/krb5.keytab".into(), cache: MachineCachePlace::Own }
    }
}

impl Default for Lustre {
    fn default() -> Self {
        Self {
            realm: String::new(),
            nid2hostname: "/etc/lustre/nid2hostname".into(),
            nid_hook: HookChoice::default(),
            trust_unconfirmed_names: false,
            nids: BTreeMap::new(),
        }
    }
}

impl Lustre {
    /// The mistake in these settings, if there is one. Paths are checked in load.rs.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if self.nids.values().any(|name| !is_word(name)) {
            return Some("lustre.nids: not a host name");
        }
        let realm = &self.realm;
        (!realm.is_empty() && !is_word(realm)).then_some(NOT_A_REALM)
    }
}

impl FileSystem {
    /// The mistake in these settings, if there is one. Paths are checked in load.rs.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        let is_wrong = |name: &Option<String>| name.as_deref().is_some_and(|name| !is_word(name));
        if is_wrong(&self.realm) {
            return Some(NOT_A_REALM);
        }
        is_wrong(&self.principal).then_some("principal: not the name of a principal")
    }
}

/// Whether a text is printable ASCII without spaces, as all names here must be.
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
