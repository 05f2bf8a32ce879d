//! Settings of users' credential caches.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::hooks::HookChoice;
use crate::class::classes;

/// Placeholder for the uid in a path.
const UID: &str = "%{uid}";

/// Which credential caches of users may be used, and in which order (rules S7, S8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caches {
    /// Allow caches on FUSE file systems, which a program of the user's may serve.
    pub allow_fuse: bool,
    /// Allow caches on file systems that another machine serves.
    pub allow_network: bool,
    /// Order in which caches are used.
    pub choice: CacheChoice,
    /// Precedence of the cache that KRB5CCNAME names.
    pub krb5ccname: Krb5CcName,
    /// Keytab of a user, with `%{uid}` in its path; empty for none.
    pub client_keytab: String,
    /// Hook that is asked for a cache of the user's.
    pub hook: HookChoice,
}

classes!(Caches {
    allow_fuse: public,
    allow_network: public,
    choice: public,
    krb5ccname: public,
    client_keytab: public,
    hook: public,
});

/// Which of several usable caches is used first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheChoice {
    /// The one that the requester has chosen: by KRB5CCNAME, by `.k5identity`, or as the default cache.
    Wish,
    /// The one that leads to the target's realm and lives longest.
    Longest,
}

/// Precedence of the cache that KRB5CCNAME names in a requester's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Krb5CcName {
    /// As `choice` says.
    Considered,
    /// None: it is ranked like any other.
    Ranked,
    /// It is used if it is usable at all, whatever `choice` says.
    First,
    /// The variable is ignored.
    Ignored,
}

impl Caches {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        allow_fuse: false,
        allow_network: false,
        choice: CacheChoice::Wish,
        krb5ccname: Krb5CcName::Considered,
        client_keytab: String::new(),
        hook: HookChoice(None),
    };

    /// The keytab of a user, if the settings name one.
    pub fn client_keytab(&self, uid: u32) -> Option<PathBuf> {
        let name = &self.client_keytab;
        (!name.is_empty()).then(|| PathBuf::from(name.replace(UID, &uid.to_string())))
    }

    /// The mistake in these settings, if there is one.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        let keytab = &self.client_keytab;
        let good = keytab.is_empty() || (keytab.starts_with('/') && keytab.contains(UID));
        (!good).then_some("caches.client_keytab must be an absolute path with %{uid}")
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self::DEFAULT
    }
}
