//! A place where credentials may be, as it is handed to its reader: by descriptor or by name.

use std::fmt;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::event::{Cause, Failure, one_line};
use crate::text::quoted;

/// One place.
#[derive(Debug)]
pub(crate) struct Source {
    /// What it is.
    pub role: Role,
    /// By what it was named.
    pub standing: Standing,
    /// Its name for people; for an unusable place, also why it is unusable.
    pub display: String,
    /// The thing itself.
    pub held: Held,
}

/// How a reader gets at a source.
#[derive(Debug)]
pub(crate) enum Held {
    /// By a descriptor.
    Descriptor(OwnedFd),
    /// By its name.
    Name(String),
    /// Not at all: only the place's name, without the reason.
    Nothing(String),
}

/// The two names of a cache or keytab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheNames {
    /// What libkrb5 is to open, such as `FILE:/proc/self/fd/4`.
    pub library: String,
    /// What a person knows it by, such as `FILE:/tmp/krb5cc_1000`.
    pub display: String,
}

/// What a source of credentials is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A cache of the requester's.
    Cache,
    /// A collection that the library has to list, which was named.
    Collection,
    /// One that may not exist at all.
    PossibleCollection,
    /// A keytab of the requester's, for when no cache is usable.
    ClientKeytab,
    /// The requester's rules for its principal by service (k5identity(5)).
    Identities,
    /// Nothing that can be used.
    Unfit(Defect),
    /// A part of the machine's credentials.
    Machine(MachineSource),
}

/// Why a place will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Defect {
    /// A named cache does not exist.
    Absent,
    /// The cache has ended with its tickets.
    Expired,
    /// The cache may not be used.
    Unusable,
    /// It is of no concern to the requester, but told to those who look closely.
    Foreign,
    /// There was no time or no room to look at it, which is always told.
    Unseen,
}

/// A part of the machine's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MachineSource {
    /// Root's default cache.
    DefaultCache,
    /// The upcall's own cache.
    OwnCache,
    /// A keytab.
    Keytab,
}

/// What named a cache: it shows its owner's wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// By nothing: it was found.
    #[default]
    Found,
    /// By the requester: the cache, or the primary one of a collection.
    Wished,
    /// The requester has named the collection that it is in.
    WishedMember,
    /// By krb5.conf: the cache, or the primary one of a collection.
    Default,
    /// It is in the collection that krb5.conf names.
    DefaultMember,
}

impl Standing {
    /// That of the caches in a collection but the primary one.
    #[must_use]
    pub(crate) fn of_member(self) -> Self {
        match self {
            Self::Wished => Self::WishedMember,
            Self::Default => Self::DefaultMember,
            other => other,
        }
    }
}

impl Source {
    /// A cache that is opened.
    pub(crate) fn opened(display: String, file: OwnedFd) -> Self {
        Self { role: Role::Cache, standing: Standing::Found, display, held: Held::Descriptor(file) }
    }

    /// A cache that the library finds by its name.
    pub(crate) fn named(name: String) -> Self {
        Self { role: Role::Cache, standing: Standing::Found, display: name.clone(), held: Held::Name(name) }
    }

    /// A place that will not do, with its name and the reason in the failure's detail.
    pub(crate) fn objection(place: &impl fmt::Display, failure: &Failure) -> Self {
        let role = if failure.cause == Cause::NoTicket {
            Role::Unfit(Defect::Absent)
        } else {
            Role::Unfit(Defect::Unusable)
        };
        Self { role, ..Self::foreign(place, &failure.detail) }
    }

    /// A place whose tickets have expired.
    pub(crate) fn expired(place: &impl fmt::Display) -> Self {
        Self {
            role: Role::Unfit(Defect::Expired),
            ..Self::foreign(place, &format!("{}: ticket expired", quoted(&place.to_string())))
        }
    }

    /// What was not looked at.
    pub(crate) fn unseen(place: &impl fmt::Display, what: &str) -> Self {
        Self { role: Role::Unfit(Defect::Unseen), ..Self::foreign(place, what) }
    }

    /// What others have; `what` begins with the place's name, too.
    pub(crate) fn foreign(place: &impl fmt::Display, what: &str) -> Self {
        let held = Held::Nothing(place.to_string());
        Self { role: Role::Unfit(Defect::Foreign), standing: Standing::Found, display: one_line(what), held }
    }
}
