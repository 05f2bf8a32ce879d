//! A place where credentials may be, as it is handed to its reader.

use std::fmt;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::class::classes;
use crate::event::{Cause, Failure, one_line};
use crate::text::quoted;

/// One place.
#[derive(Debug)]
pub(crate) struct Source {
    /// What it is.
    pub role: SourceRole,
    /// How it was named.
    pub standing: Standing,
    /// Its name for people; for an unusable place, also the reason.
    pub display: String,
    /// How its reader gets at it.
    pub handle: SourceHandle,
}

/// How a reader gets at a source.
#[derive(Debug)]
pub(crate) enum SourceHandle {
    /// By a descriptor.
    Descriptor(OwnedFd),
    /// By its name.
    Name(String),
    /// Not at all. This is the place's name, without the reason.
    Nothing(String),
}

/// The two names of a cache or keytab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheNames {
    /// The name that libkrb5 opens, such as `FILE:/proc/self/fd/4`.
    pub library: String,
    /// The name that people know, such as `FILE:/tmp/krb5cc_1000`.
    pub display: String,
}

classes!(CacheNames { library: public, display: public });

/// What a source of credentials is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceRole {
    /// A credential cache of the requester's.
    Cache,
    /// A collection that was named, and that the library has to list.
    Collection,
    /// A collection that was not named and may not exist.
    PossibleCollection,
    /// A keytab of the requester's, for when no cache is usable.
    ClientKeytab,
    /// The requester's rules for its principal by service (k5identity(5)).
    Identities,
    /// A place that cannot be used.
    Unfit(Defect),
    /// A shared key of a file system's, and whether its prime still has to be tested.
    SharedKey(PrimeTest),
    /// A part of the machine's credentials.
    Machine(MachineSource),
}

/// Whether a shared key's prime has to be tested, which takes long for a large one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PrimeTest {
    /// It is not known to be safe.
    Due,
    /// An earlier request has made the test, and it passed.
    Passed,
}

/// Why a place cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Defect {
    /// A named cache does not exist.
    Absent,
    /// The cache has expired with its tickets.
    Expired,
    /// The cache may not be used.
    Unusable,
    /// It does not concern the requester; only detailed output mentions it.
    Foreign,
    /// There was no time or no room to look at it, which is always reported.
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

/// How a cache was named, which shows what its owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Not named: it was found.
    #[default]
    Found,
    /// Named by the requester: the cache, or the primary one of a collection.
    Wished,
    /// Another cache of a collection that the requester has named.
    WishedMember,
    /// Named by krb5.conf: the cache, or the primary one of a collection.
    Default,
    /// Another cache of the collection that krb5.conf names.
    DefaultMember,
}

impl Standing {
    /// The standing of the caches in the collection, except the primary one.
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
    /// A cache that was opened.
    pub(crate) fn opened(display: String, file: OwnedFd) -> Self {
        Self {
            role: SourceRole::Cache,
            standing: Standing::Found,
            display,
            handle: SourceHandle::Descriptor(file),
        }
    }

    /// A cache that the library finds by its name.
    pub(crate) fn named(name: String) -> Self {
        Self {
            role: SourceRole::Cache,
            standing: Standing::Found,
            display: name.clone(),
            handle: SourceHandle::Name(name),
        }
    }

    /// A place that cannot be used, with its name and the reason in the failure's detail.
    pub(crate) fn objection(place: &impl fmt::Display, failure: &Failure) -> Self {
        let role = if failure.cause == Cause::NoTicket {
            SourceRole::Unfit(Defect::Absent)
        } else {
            SourceRole::Unfit(Defect::Unusable)
        };
        Self { role, ..Self::foreign(place, &failure.detail) }
    }

    /// A place whose tickets have expired.
    pub(crate) fn expired(place: &impl fmt::Display) -> Self {
        Self {
            role: SourceRole::Unfit(Defect::Expired),
            ..Self::foreign(place, &format!("{}: ticket expired", quoted(&place.to_string())))
        }
    }

    /// A place that was not looked at.
    pub(crate) fn unseen(place: &impl fmt::Display, what: &str) -> Self {
        Self { role: SourceRole::Unfit(Defect::Unseen), ..Self::foreign(place, what) }
    }

    /// A place that does not concern the requester; `what` also begins with the place's name.
    pub(crate) fn foreign(place: &impl fmt::Display, what: &str) -> Self {
        let handle = SourceHandle::Nothing(place.to_string());
        Self {
            role: SourceRole::Unfit(Defect::Foreign),
            standing: Standing::Found,
            display: one_line(what),
            handle,
        }
    }
}
