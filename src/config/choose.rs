//! Which settings apply to a request, by the requester's namespace and by the file system.
//!
//! The monitor finds the requester's table and continues with [`Config::for_namespace`], so that no later step needs
//! to know about tables.

use std::path::Path;

use super::namespace::NamespaceTraits;
use super::settings::Config;

/// The settings of the machine's credentials for one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineSettings<'a> {
    /// `None` for the default realm of krb5.conf.
    pub realm: Option<&'a str>,
    /// Keytab of the machine's principals.
    pub keytab: &'a Path,
    /// The only principal, if one is set.
    pub principal: Option<&'a str>,
}

impl Config {
    /// Name of the table for requesters in such a namespace. Of several that match, the one with the most components
    /// in `cgroup` counts, then one with `owner`, then the first by name.
    pub fn namespace_of(&self, traits: &NamespaceTraits) -> Option<&str> {
        let matching = self.namespace.iter().filter(|(_, table)| table.matches(traits));
        // max_by_key returns the last of equals.
        matching.rev().max_by_key(|(_, table)| table.precision()).map(|(name, _)| name.as_str())
    }

    /// These settings with that table applied.
    #[must_use]
    pub fn for_namespace(&self, name: &str) -> Self {
        let mut config = self.clone();
        if let Some(table) = self.namespace.get(name) {
            config.within = Some(name.to_owned());
            config.krb5_config = table.krb5_config.clone().unwrap_or(config.krb5_config);
        }
        config
    }

    /// Name of the table that [`Config::for_namespace`] has applied.
    pub fn within(&self) -> Option<&str> {
        self.within.as_deref()
    }

    /// The settings for a target such as `lustre-MDT0000-mdc-ff46162242dab800`, whose file system is `lustre`. The
    /// file system's table comes before the general settings; a realm in the request-key rule, which is not known
    /// here, comes before both. In a namespace only its own table counts; `None` if that names no keytab.
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

    /// The settings in a namespace, where the host's never fill a gap.
    fn machine_settings_within(&self) -> Option<MachineSettings<'_>> {
        let table = self.namespace.get(self.within.as_deref()?)?;
        table.keytab.as_deref().map(|keytab| MachineSettings {
            realm: table.realm.as_deref(),
            keytab,
            principal: table.principal.as_deref(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("lgss.toml")).unwrap()
    }

    fn traits(owner: Option<u32>, cgroup: &str) -> NamespaceTraits {
        NamespaceTraits { owner, cgroup: Some(cgroup.to_owned()) }
    }

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
    fn of_the_tables_that_match_the_longest_path_counts_and_a_path_before_an_owner() {
        let config = config(
            "[namespace.owned]\nowner = 1000\n[namespace.also]\nowner = 1000\n[namespace.machines]\ncgroup = \"/m\"\n\
             [namespace.web]\ncgroup = \"/m/web\"\n[namespace.webs]\ncgroup = \"/m/web\"\nowner = 1000\n",
        );
        for (traits, name) in [
            (traits(None, "/m/web/x"), Some("web")),
            (traits(Some(1000), "/m/web"), Some("webs")),
            (traits(Some(1001), "/m/web"), Some("web")),
            (traits(Some(1000), "/m/db"), Some("machines")),
            (traits(Some(1000), "/n"), Some("also")),
            (traits(Some(1001), "/n"), None),
            (traits(None, "/"), None),
            (NamespaceTraits { owner: Some(1000), cgroup: None }, Some("also")),
            (NamespaceTraits::default(), None),
        ] {
            assert_eq!(config.namespace_of(&traits), name, "{traits:?}");
        }
    }

    #[test]
    fn what_a_table_sets_replaces_what_is_the_hosts() {
        let config = config(
            "[lustre]\nrealm = \"HOST\"\n[file_system.fast]\nkeytab = \"/fast\"\nprincipal = \"p@HOST\"\n\
             [namespace.web]\nowner = 1\nkrb5_config = \"/web.conf\"\nkeytab = \"/web.keytab\"\n\
             [namespace.bare]\nowner = 2\n",
        );
        let web = config.for_namespace("web");
        assert_eq!((web.within(), web.krb5_config.as_path()), (Some("web"), Path::new("/web.conf")));
        let expected = MachineSettings { realm: None, keytab: Path::new("/web.keytab"), principal: None };
        assert_eq!(web.machine_settings("fast-MDT0000"), Some(expected));
        let bare = config.for_namespace("bare");
        assert_eq!((bare.within(), &bare.krb5_config), (Some("bare"), &config.krb5_config));
        assert_eq!(bare.machine_settings("fast-MDT0000"), None, "no keytab of the host's");
        assert_eq!(config.machine_settings("fast-MDT0000").unwrap().keytab, Path::new("/fast"));
    }
}
