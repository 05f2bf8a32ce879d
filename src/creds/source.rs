//! A place where credentials are, or are not, as it is handed to whoever reads it: by descriptor or by name.

use std::fmt;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::event::{Cause, Failure, one_line};
use crate::text::quoted;

/// One place.
#[derive(Debug)]
pub struct Source {
    /// What it is.
    pub role: Role,
    /// By what it was named.
    pub standing: Standing,
    /// How a person knows it; of a place that will not do, also why not.
    pub display: String,
    /// The thing itself.
    pub held: Held,
}

/// A source in the list that another process is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The word of its role and standing.
    pub label: String,
    /// How the library finds it; of a place that will not do, its name alone.
    pub library: String,
    /// How a person knows it; of a place that will not do, also why not.
    pub display: String,
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

/// What a source of credentials is; a word in the worker's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A cache of the requester's.
    Cache,
    /// A collection that the library has to list, which was named.
    Collection,
    /// One that may not exist at all.
    PossibleCollection,
    /// A keytab of the requester's, for when no cache will do.
    ClientKeytab,
    /// The requester's rules for whom to be to which service (k5identity(5)).
    Identities,
    /// A named cache that does not exist.
    Absent,
    /// A cache that has ended with its tickets.
    Expired,
    /// A cache that may not be used.
    Unusable,
    /// What is of no concern to the requester, but told to those who look closely.
    Foreign,
    /// What there was no time or no room to look at, which is always told.
    Unseen,
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
        Self::Collection,
        Self::PossibleCollection,
        Self::ClientKeytab,
        Self::Identities,
        Self::Absent,
        Self::Expired,
        Self::Unusable,
        Self::Foreign,
        Self::Unseen,
        Self::DefaultCache,
        Self::OwnCache,
        Self::Keytab,
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Collection => "collection",
            Self::PossibleCollection => "possible_collection",
            Self::ClientKeytab => "client_keytab",
            Self::Identities => "identities",
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::Unusable => "unusable",
            Self::Foreign => "foreign",
            Self::Unseen => "unseen",
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

/// By what a cache was named, which is what its owner's wishes are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Standing {
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
    const ALL: [Self; 5] =
        [Self::Found, Self::Wished, Self::WishedMember, Self::Default, Self::DefaultMember];

    fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Wished => "wished",
            Self::WishedMember => "wished_member",
            Self::Default => "default",
            Self::DefaultMember => "default_member",
        }
    }

    /// That of the caches in a collection but the primary one.
    #[must_use]
    pub fn of_member(self) -> Self {
        match self {
            Self::Wished => Self::WishedMember,
            Self::Default => Self::DefaultMember,
            other => other,
        }
    }
}

/// What a source is, and by what it was named: `role` or `role/standing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// What it is.
    pub role: Role,
    /// By what it was named.
    pub standing: Standing,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.word())?;
        match self.standing {
            Standing::Found => Ok(()),
            standing => write!(f, "/{}", standing.word()),
        }
    }
}

impl Label {
    /// What the word means.
    pub fn of_word(word: &str) -> Option<Self> {
        let (role, standing) = word.split_once('/').unwrap_or((word, Standing::Found.word()));
        let standing = Standing::ALL.into_iter().find(|known| known.word() == standing)?;
        Some(Self { role: Role::of_word(role)?, standing })
    }
}

impl Source {
    /// What it is, and by what it was named.
    pub fn label(&self) -> Label {
        Label { role: self.role, standing: self.standing }
    }

    /// A cache that is opened.
    pub fn opened(display: String, file: OwnedFd) -> Self {
        Self { role: Role::Cache, standing: Standing::Found, display, held: Held::Descriptor(file) }
    }

    /// A cache that the library finds by its name.
    pub fn named(name: String) -> Self {
        Self { role: Role::Cache, standing: Standing::Found, display: name.clone(), held: Held::Name(name) }
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

    /// What was not looked at.
    pub fn unseen(place: &impl fmt::Display, what: &str) -> Self {
        Self { role: Role::Unseen, ..Self::foreign(place, what) }
    }

    /// What others have; `what` begins with the place's name, too.
    pub fn foreign(place: &impl fmt::Display, what: &str) -> Self {
        let held = Held::Nothing(place.to_string());
        Self { role: Role::Foreign, standing: Standing::Found, display: one_line(what), held }
    }
}

#[cfg(test)]
mod tests {
    use super::{Label, Role, Standing};

    #[test]
    fn a_label_is_one_word_of_the_workers_arguments() {
        for standing in Standing::ALL {
            for role in Role::ALL {
                let label = Label { role, standing };
                assert_eq!(Label::of_word(&label.to_string()), Some(label));
            }
        }
        assert_eq!(Label { role: Role::Cache, standing: Standing::Found }.to_string(), "cache");
        for word in ["", "cache/", "cache/first", "/wished", "cache/wished/x"] {
            assert_eq!(Label::of_word(word), None, "{word}");
        }
    }
}
