//! Settings for requesters in a container: which mount namespaces a table applies to, and what it sets.
//!
//! choose.rs decides which of several tables counts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lustre::is_word;
use crate::class::{Private, classes};

/// Settings for requesters in the mount namespaces that `owner` and `cgroup` describe; at least one of the two is
/// set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Namespace {
    /// Uid that created the user namespace to which the mount namespace belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// A path in the cgroup v2 hierarchy, for processes there or below. `*` stands for any characters of a component.
    /// Private, since whoever can start a process there gets what the table gives.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "Private::<String>::mark")]
    pub cgroup: Option<Private<String>>,
    /// krb5.conf for the worker, in the host's file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub krb5_config: Option<PathBuf>,
    /// Keytab of the machine's principals there; without it the machine has no credentials there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keytab: Option<PathBuf>,
    /// Realm of the machine's principals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// The only principal for root's requests on a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

classes!(Namespace {
    owner: public,
    cgroup: private,
    krb5_config: public,
    keytab: public,
    realm: public,
    principal: public,
});

/// What the kernel says about a requester's mount namespace that is not ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceTraits {
    /// Uid that created the user namespace to which it belongs; `None` for the initial one.
    pub owner: Option<u32>,
    /// The requester's path in the cgroup v2 hierarchy.
    pub cgroup: Option<String>,
}

impl Namespace {
    fn cgroup(&self) -> Option<&str> {
        self.cgroup.as_ref().map(|path| path.expose().as_str())
    }

    pub(super) fn matches(&self, traits: &NamespaceTraits) -> bool {
        let owner = self.owner.is_none_or(|owner| traits.owner == Some(owner));
        let below =
            |pattern: &str| traits.cgroup.as_deref().is_some_and(|path| is_at_or_below(path, pattern));
        owner && self.cgroup().is_none_or(below)
    }

    /// The greatest of several that match counts: a longer path before a shorter one, any path before none, then a
    /// table with an owner.
    pub(super) fn precision(&self) -> (usize, bool) {
        (self.cgroup().map_or(0, |path| components(path).count()), self.owner.is_some())
    }

    /// The mistake in these settings, if there is one. Paths are checked in load.rs.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        let well_formed = |path: &str| {
            path.starts_with('/') && components(path).all(|part| !matches!(part, "" | "." | ".."))
        };
        if self.owner.is_none() && self.cgroup.is_none() {
            return Some("neither owner nor cgroup says for whom it is");
        }
        if !self.cgroup().is_none_or(well_formed) {
            return Some("cgroup is not a path below /, without an empty component");
        }
        if self.keytab.is_none() && (self.realm.is_some() || self.principal.is_some()) {
            return Some("realm and principal are of a keytab, and there is none");
        }
        [&self.realm, &self.principal]
            .into_iter()
            .flatten()
            .any(|name| !is_word(name))
            .then_some("realm or principal is not the name of one")
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// Compares component by component; the path may have more of them than the pattern.
fn is_at_or_below(path: &str, pattern: &str) -> bool {
    let mut path = components(path);
    components(pattern).all(|pattern| path.next().is_some_and(|part| is_like(part, pattern)))
}

/// Whether the text matches the pattern, in which `*` stands for any characters.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(before) else { return false };
    let mut parts: Vec<&str> = after.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The first match leaves the most text for the rest of the pattern.
        let Some((_, beyond)) = rest.split_once(part) else { return false };
        rest = beyond;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::is_at_or_below;

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
}
