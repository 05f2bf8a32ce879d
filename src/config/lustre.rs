//! Settings of Lustre's contexts: credentials of the node, names of network identifiers, what differs by file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Config;
use crate::nid::Nid;

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

/// The settings that hold for one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineSettings<'a> {
    /// `None` for the default realm of krb5.conf.
    pub realm: Option<&'a str>,
    /// Keys.
    pub keytab: &'a Path,
    /// The only principal, if one is set.
    pub principal: Option<&'a str>,
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

impl Config {
    /// What holds for a target such as `lustre-MDT0000-mdc-ff46162242dab800`, whose file system is `lustre`. Realm
    /// and principal of a file system's table come before the general ones; a realm of the request-key rule, which is not
    /// known here, comes before all. In a namespace nothing but its own table counts; `None` if that names no keytab.
    pub fn machine_settings(&self, target: &str) -> Option<MachineSettings<'_>> {
        if self.within().is_some() {
            return self.machine_settings_within();
        }
        let own = target.split_once('-').and_then(|(name, _)| self.file_system.get(name));
        let general = Some(self.lustre.realm.as_str()).filter(|realm| !realm.is_empty());
        Some(MachineSettings {
            realm: own.and_then(|own| own.realm.as_deref()).or(general),
            keytab: own.and_then(|own| own.keytab.as_deref()).unwrap_or(&self.machine.keytab),
            principal: own.and_then(|own| own.principal.as_deref()),
        })
    }

    /// All paths of these settings.
    pub(super) fn lustre_paths(&self) -> impl Iterator<Item = &Path> {
        let keytabs = self.file_system.values().filter_map(|own| own.keytab.as_deref());
        [self.machine.keytab.as_path(), &self.lustre.nid2hostname].into_iter().chain(keytabs)
    }

    /// What is wrong with these settings besides paths, if anything.
    pub(super) fn lustre_mistake(&self) -> Option<&'static str> {
        let realms = self.file_system.values().filter_map(|own| own.realm.as_deref());
        let principals = self.file_system.values().filter_map(|own| own.principal.as_deref());
        if self.lustre.nids.values().any(|name| !is_word(name)) {
            return Some("lustre.nids: not a host name");
        }
        if realms
            .chain([self.lustre.realm.as_str()].into_iter().filter(|r| !r.is_empty()))
            .any(|r| !is_word(r))
        {
            return Some("realm: not the name of a realm");
        }
        principals.into_iter().any(|name| !is_word(name)).then_some("principal: not the name of a principal")
    }
}

/// Printable ASCII without spaces, which all names here are of.
pub(super) fn is_word(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_file_system_come_before_the_general_ones() {
        let text = "[lustre]\nrealm = \"A\"\n[file_system.fast]\nrealm = \"B\"\nprincipal = \"lustre_root@B\"\n\
                    [file_system.old]\nkeytab = \"/old\"\n";
        let config: Config = toml::from_str(text).unwrap();
        let settings = |target| config.machine_settings(target).unwrap();
        let fast = settings("fast-MDT0000-mdc-ff46162242dab800");
        let keytab = Path::new("/etc/krb5.keytab");
        assert_eq!(fast, MachineSettings { realm: Some("B"), keytab, principal: Some("lustre_root@B") });
        let old = settings("old-OST0001-osc-ff46162242dab800");
        assert_eq!(old, MachineSettings { realm: Some("A"), keytab: Path::new("/old"), principal: None });
        for other in ["faster-MDT0000", "MGC10.0.0.1@tcp", "fast"] {
            let expected = MachineSettings { realm: Some("A"), keytab, principal: None };
            assert_eq!(settings(other), expected, "{other}");
        }
        assert_eq!(Config::default().machine_settings("fast-MDT0000").unwrap().realm, None);
    }

    #[test]
    fn names_of_network_identifiers_are_read_and_written() {
        let text = "[lustre.nids]\n\"10.0.0.1@tcp\" = \"mds1.example.com\"\n";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.lustre.nids.get(&"10.0.0.1@tcp".parse().unwrap()).unwrap(), "mds1.example.com");
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
    }
}
