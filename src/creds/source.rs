//! A place where credentials are, or are not, as it is handed to whoever reads it: by descriptor or by name.

use std::fmt;
use std::os::fd::OwnedFd;

use crate::event::{Cause, Failure, one_line};
use crate::text::quoted;

/// One place.
#[derive(Debug)]
pub struct Source {
    /// What it is.
    pub role: Role,
    /// How a person knows it; of a place that will not do, also why not.
    pub display: String,
    /// The thing itself.
    pub held: Held,
}

/// How a reader gets at a source.
#[derive(Debug)]
pub enum Held {
    /// By a descriptor.
    Descriptor(OwnedFd),
    /// By its name.
    Name(String),
    /// Not at all; the name of the place alone, without what is said of it.
    Nothing(String),
}

/// What a source of credentials is; a word of the worker's argv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A cache of the requester's.
    Cache,
    /// A cache of the requester's that comes before all others if it is usable.
    First,
    /// A collection that the library has to list, which was named.
    Collection,
    /// The same, whose caches come before all others.
    FirstCollection,
    /// One that may not exist at all.
    PossibleCollection,
    /// A keytab of the requester's, for when no cache will do.
    ClientKeytab,
    /// A named cache that does not exist.
    Absent,
    /// A cache that has ended with its tickets.
    Expired,
    /// A cache that may not be used.
    Unusable,
    /// What is of no concern to the requester, but told to those who look closely.
    Foreign,
    /// Root's default cache, for the machine's credentials.
    DefaultCache,
    /// The upcall's own cache of machine credentials.
    OwnCache,
    /// A keytab of the machine's.
    Keytab,
}

impl Role {
    const ALL: [Self; 13] = [
        Self::Cache,
        Self::First,
        Self::Collection,
        Self::FirstCollection,
        Self::PossibleCollection,
        Self::ClientKeytab,
        Self::Absent,
        Self::Expired,
        Self::Unusable,
        Self::Foreign,
        Self::DefaultCache,
        Self::OwnCache,
        Self::Keytab,
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::First => "first",
            Self::Collection => "collection",
            Self::FirstCollection => "first_collection",
            Self::PossibleCollection => "possible_collection",
            Self::ClientKeytab => "client_keytab",
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::Unusable => "unusable",
            Self::Foreign => "foreign",
            Self::DefaultCache => "default_cache",
            Self::OwnCache => "own_cache",
            Self::Keytab => "keytab",
        }
    }

    /// What the word means.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

impl Source {
    /// A cache that is opened.
    pub fn opened(display: String, file: OwnedFd) -> Self {
        Self { role: Role::Cache, display, held: Held::Descriptor(file) }
    }

    /// A cache that the library finds by its name.
    pub fn named(name: String) -> Self {
        Self { role: Role::Cache, display: name.clone(), held: Held::Name(name) }
    }

    /// A place that will not do, with its name and the reason in the failure's detail.
    pub fn objection(place: &impl fmt::Display, failure: &Failure) -> Self {
        let role = if failure.cause == Cause::NoTicket { Role::Absent } else { Role::Unusable };
        Self { role, ..Self::foreign(place, &failure.detail) }
    }

    /// A place whose tickets have expired.
    pub fn expired(place: &impl fmt::Display) -> Self {
        Self {
            role: Role::Expired,
            ..Self::foreign(place, &format!("{}: ticket expired", quoted(&place.to_string())))
        }
    }

    /// What others have; `what` begins with the place's name, too.
    pub fn foreign(place: &impl fmt::Display, what: &str) -> Self {
        let held = Held::Nothing(place.to_string());
        Self { role: Role::Foreign, display: one_line(what), held }
    }
}
