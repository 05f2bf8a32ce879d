//! Settings that differ for requesters in a container: which mount namespaces a table is for, and what it sets.
//!
//! Which of several tables counts is decided in choose.rs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lustre::is_word;

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
    pub(super) fn matches(&self, traits: &NamespaceTraits) -> bool {
        let owner = self.owner.is_none_or(|owner| traits.owner == Some(owner));
        let below =
            |pattern: &str| traits.cgroup.as_deref().is_some_and(|path| is_at_or_below(path, pattern));
        owner && self.cgroup.as_deref().is_none_or(below)
    }

    /// Of several that match, the greatest counts: a longer path is more, any path is more than none, and an owner with
    /// it more still.
    pub(super) fn precision(&self) -> (usize, bool) {
        (self.cgroup.as_deref().map_or(0, |path| components(path).count()), self.owner.is_some())
    }

    /// What is wrong with these settings besides paths.
    pub(super) fn mistake(&self) -> Option<&'static str> {
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
