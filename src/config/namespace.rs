//! Settings that differ for requesters in a container: which mount namespaces a table is for, and what it sets.
//!
//! The monitor finds the table of a requester and goes on with [`Config::for_namespace`], so that nothing later need know of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Config;
use super::lustre::{MachineSettings, is_word};

/// What differs for requesters in the mount namespaces that `owner` and `cgroup` describe; at least one of them is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Namespace {
    /// Who has made the user namespace that the mount namespace belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// A path in the cgroup v2 hierarchy; processes there or below are meant. `*` stands for any characters of a component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// krb5.conf for the worker, a file of the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub krb5_config: Option<PathBuf>,
    /// Keys of the node's principals there; without them there are no credentials of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keytab: Option<PathBuf>,
    /// Realm of the node's principals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// The one principal that this node is to a client's root requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

/// What the kernel tells of a requester's mount namespace, which is another one than ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceTraits {
    /// Who has made the user namespace that it belongs to; `None` if that is the initial one.
    pub owner: Option<u32>,
    /// The requester's path in the cgroup v2 hierarchy.
    pub cgroup: Option<String>,
}

impl Namespace {
    fn matches(&self, traits: &NamespaceTraits) -> bool {
        let owner = self.owner.is_none_or(|owner| traits.owner == Some(owner));
        let below =
            |pattern: &str| traits.cgroup.as_deref().is_some_and(|path| is_at_or_below(path, pattern));
        owner && self.cgroup.as_deref().is_none_or(below)
    }

    /// Of several that match, the greatest counts: a longer path is more, any path is more than none, and an owner with
    /// it more still.
    fn precision(&self) -> (usize, bool) {
        (self.cgroup.as_deref().map_or(0, |path| components(path).count()), self.owner.is_some())
    }

    fn mistake(&self) -> Option<&'static str> {
        let well_formed = |path: &str| {
            path.starts_with('/') && components(path).all(|part| !matches!(part, "" | "." | ".."))
        };
        if self.owner.is_none() && self.cgroup.is_none() {
            return Some("namespace: neither owner nor cgroup says for whom it is");
        }
        if !self.cgroup.as_deref().is_none_or(well_formed) {
            return Some("namespace: cgroup is not a path below /, without an empty component");
        }
        if self.keytab.is_none() && (self.realm.is_some() || self.principal.is_some()) {
            return Some("namespace: realm and principal are of a keytab, and there is none");
        }
        [&self.realm, &self.principal]
            .into_iter()
            .flatten()
            .any(|name| !is_word(name))
            .then_some("namespace: not the name of a realm or of a principal")
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// Component by component; what the path has beyond the pattern is below it.
fn is_at_or_below(path: &str, pattern: &str) -> bool {
    let mut path = components(path);
    components(pattern).all(|pattern| path.next().is_some_and(|part| is_like(part, pattern)))
}

/// Whether `*` in the pattern can stand for something that makes it the text.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(before) else { return false };
    let mut parts: Vec<&str> = after.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place leaves the most for what follows.
        let Some((_, beyond)) = rest.split_once(part) else { return false };
        rest = beyond;
    }
    rest.ends_with(last)
}

impl Config {
    /// The name of the table that is for requesters in such a namespace: of those that match, the one with the most
    /// components in `cgroup`, then one with `owner`, then the first by name.
    pub fn namespace_of(&self, traits: &NamespaceTraits) -> Option<&str> {
        let matching = self.namespace.iter().filter(|(_, table)| table.matches(traits));
        // The last of equals is what max_by_key gives.
        matching.rev().max_by_key(|(_, table)| table.precision()).map(|(name, _)| name.as_str())
    }

    /// The settings for a requester for whom that table is.
    #[must_use]
    pub fn for_namespace(&self, name: &str) -> Self {
        let mut config = self.clone();
        if let Some(table) = self.namespace.get(name) {
            config.within = Some(name.to_owned());
            config.krb5_config = table.krb5_config.clone().unwrap_or(config.krb5_config);
        }
        config
    }

    /// The name of the table that these settings have been made for by [`Config::for_namespace`].
    pub fn within(&self) -> Option<&str> {
        self.within.as_deref()
    }

    /// What holds there for the node's credentials, which nothing of the host's replaces.
    pub(super) fn machine_settings_within(&self) -> Option<MachineSettings<'_>> {
        let table = self.namespace.get(self.within.as_deref()?)?;
        table.keytab.as_deref().map(|keytab| MachineSettings {
            realm: table.realm.as_deref(),
            keytab,
            principal: table.principal.as_deref(),
        })
    }

    /// All paths of these settings.
    pub(super) fn namespace_paths(&self) -> impl Iterator<Item = &Path> {
        self.namespace
            .values()
            .flat_map(|table| [&table.krb5_config, &table.keytab])
            .flatten()
            .map(PathBuf::as_path)
    }

    /// What is wrong with these settings besides paths, if anything.
    pub(super) fn namespace_mistake(&self) -> Option<&'static str> {
        self.namespace.values().find_map(Namespace::mistake)
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
    fn a_path_means_itself_and_what_is_below() {
        for (pattern, path, expected) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/b/c/d", true),
            ("/a/b", "/a", false),
            ("/a/b", "/a/bc", false),
            ("/a/b", "/a/c", false),
            ("/a/b", "/", false),
            ("/m/web-*.scope", "/m/web-1.scope/x", true),
            ("/m/web-*.scope", "/m/web-.scope", true),
            ("/m/web-*.scope", "/m/web-1.service", false),
            ("/m/web-*.scope", "/m/web-1/2.scope", false),
            ("/u/user-*.slice/*/pod", "/u/user-5.slice/x/pod", true),
            ("/u/user-*.slice/*/pod", "/u/user-5.slice/pod", false),
            ("/*a*b*", "/xaxbx", true),
            ("/*a*b*", "/ba", false),
            ("/ab*ba", "/aba", false),
            ("/*", "/", true),
        ] {
            assert_eq!(is_at_or_below(path, pattern), expected, "{pattern} {path}");
        }
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
