//! Settings of users' credential caches.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What stands for the user's number in a path.
const UID: &str = "%{uid}";

/// Where credentials of users may be, and which of them are looked at (rules S7, S8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caches {
    /// Also on file systems that a program of the user's may serve.
    pub allow_fuse: bool,
    /// Also on file systems that another machine serves.
    pub allow_network: bool,
    /// In which order caches are used.
    pub choice: Choice,
    /// What becomes of the cache that a requester's environment names.
    pub krb5ccname: Krb5CcName,
    /// Keytab of a user, with `%{uid}` in its path; empty for none.
    pub client_keytab: String,
}

/// Which of several usable caches is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The one that the requester wishes: by KRB5CCNAME, `.k5identity`, or as the default one.
    Wish,
    /// The one that leads to the target's realm and lives longest.
    Longest,
}

/// What the cache has over others that KRB5CCNAME names in a requester's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Krb5CcName {
    /// What `choice` says.
    Considered,
    /// Nothing: it is ranked like any other.
    Ranked,
    /// It is taken if it is usable at all, whatever `choice` says.
    First,
    /// The variable is not looked at.
    Ignored,
}

impl Caches {
    /// What holds unless it is set.
    pub const DEFAULT: Self = Self {
        allow_fuse: false,
        allow_network: false,
        choice: Choice::Wish,
        krb5ccname: Krb5CcName::Considered,
        client_keytab: String::new(),
    };

    /// The user's keytab, if there are such.
    pub fn client_keytab(&self, uid: u32) -> Option<PathBuf> {
        let name = &self.client_keytab;
        (!name.is_empty()).then(|| PathBuf::from(name.replace(UID, &uid.to_string())))
    }

    /// What is wrong with the settings as a whole.
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
