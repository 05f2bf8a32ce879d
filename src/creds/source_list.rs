//! The list of sources that the launcher hands to the worker: one typed entry each, in JSON, with the number of the
//! contract before them.
//!
//! Written by src/upcall/launcher.rs to sealed memory that only the worker gets, so that nobody reads names of caches in a
//! list of processes and no limit of arguments holds; decoded once by src/worker. Invariant: a list of another contract
//! is told apart before its entries are looked at.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::source::{CacheNames, Defect, Held, MachineSource, Role, Source, Standing};

/// What launcher, monitor and worker of one build say to each other, as a number: to be raised with every change of
/// the entries here or of src/negotiate/messages.
pub(crate) const CONTRACT: u32 = 1;

/// A source as its reader is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Entry {
    /// A cache of the requester's.
    Cache {
        /// How it is found.
        name: CacheNames,
        /// By what it was named.
        standing: Standing,
    },
    /// A collection that the library has to list, which was named.
    Collection {
        /// How it is found.
        name: CacheNames,
        /// By what it was named.
        standing: Standing,
    },
    /// A collection that may not exist at all.
    PossibleCollection(CacheNames),
    /// A keytab of the requester's, for when no cache is usable.
    ClientKeytab(CacheNames),
    /// The requester's rules for its principal by service (k5identity(5)).
    Identities(CacheNames),
    /// A place that will not do.
    Objection {
        /// What is wrong with it.
        defect: Defect,
        /// Its name alone.
        place: String,
        /// The place and the reason.
        text: String,
        /// By what it was named.
        standing: Standing,
    },
    /// A part of the machine's credentials.
    Machine {
        /// Which.
        part: MachineSource,
        /// It, or why it is missing.
        found: Result<CacheNames, String>,
    },
}

impl Entry {
    /// Of a source; `keep` takes what is opened, and says how the reader finds it.
    pub(crate) fn of(source: Source, keep: impl FnOnce(OwnedFd) -> String) -> Self {
        let Source { role, standing, display, held } = source;
        let (library, is_there) = match held {
            Held::Descriptor(descriptor) => (keep(descriptor), true),
            Held::Name(name) => (name, true),
            Held::Nothing(place) => (place, false),
        };
        let name = CacheNames { library, display };
        match role {
            Role::Cache => Self::Cache { name, standing },
            Role::Collection => Self::Collection { name, standing },
            Role::PossibleCollection => Self::PossibleCollection(name),
            Role::ClientKeytab => Self::ClientKeytab(name),
            Role::Identities => Self::Identities(name),
            Role::Unfit(defect) => {
                let CacheNames { library: place, display: text } = name;
                Self::Objection { defect, place, text, standing }
            }
            Role::Machine(part) => {
                Self::Machine { part, found: if is_there { Ok(name) } else { Err(name.display) } }
            }
        }
    }

    /// How a person knows it; of what will not do, also why not.
    #[cfg(feature = "gss")]
    pub(crate) fn display(&self) -> &str {
        match self {
            Self::Cache { name, .. }
            | Self::Collection { name, .. }
            | Self::PossibleCollection(name)
            | Self::ClientKeytab(name)
            | Self::Identities(name)
            | Self::Machine { found: Ok(name), .. } => &name.display,
            Self::Objection { text, .. } | Self::Machine { found: Err(text), .. } => text,
        }
    }
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// It is of another build.
    #[cfg(any(feature = "gss", test))]
    #[error("the programs are of different versions: contract {0} with a worker of {CONTRACT}")]
    Contract(u32),
    /// It is no list at all.
    #[error("list of sources: {0}")]
    Json(#[from] serde_json::Error),
    /// There is nothing in it.
    #[cfg(any(feature = "gss", test))]
    #[error("list of sources: empty")]
    Empty,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    contract: u32,
    sources: Vec<Entry>,
}

/// What every contract's list has.
#[cfg(any(feature = "gss", test))]
#[derive(Deserialize)]
struct Head {
    contract: u32,
}

/// The bytes of a list.
///
/// # Errors
/// [`ListError::Json`].
pub(crate) fn encode(sources: Vec<Entry>) -> Result<Vec<u8>, ListError> {
    Ok(serde_json::to_vec(&List { contract: CONTRACT, sources })?)
}

/// The entries of a list; bytes after its end are refused.
///
/// # Errors
/// [`ListError`].
#[cfg(any(feature = "gss", test))]
pub(crate) fn decode(list: &[u8]) -> Result<Vec<Entry>, ListError> {
    let Head { contract } = serde_json::from_slice(list)?;
    if contract != CONTRACT {
        return Err(ListError::Contract(contract));
    }
    let List { sources, .. } = serde_json::from_slice(list)?;
    if sources.is_empty() { Err(ListError::Empty) } else { Ok(sources) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = CacheNames> {
        (any::<String>(), any::<String>()).prop_map(|(library, display)| CacheNames { library, display })
    }

    fn standing() -> impl Strategy<Value = Standing> {
        use Standing::{Default, DefaultMember, Found, Wished, WishedMember};
        prop::sample::select(vec![Found, Wished, WishedMember, Default, DefaultMember])
    }

    fn defect() -> impl Strategy<Value = Defect> {
        use Defect::{Absent, Expired, Foreign, Unseen, Unusable};
        prop::sample::select(vec![Absent, Expired, Unusable, Foreign, Unseen])
    }

    fn part() -> impl Strategy<Value = MachineSource> {
        use MachineSource::{DefaultCache, Keytab, OwnCache};
        prop::sample::select(vec![DefaultCache, OwnCache, Keytab])
    }

    fn entry() -> impl Strategy<Value = Entry> {
        prop_oneof![
            (name(), standing()).prop_map(|(name, standing)| Entry::Cache { name, standing }),
            (name(), standing()).prop_map(|(name, standing)| Entry::Collection { name, standing }),
            name().prop_map(Entry::PossibleCollection),
            name().prop_map(Entry::ClientKeytab),
            name().prop_map(Entry::Identities),
            (defect(), any::<String>(), any::<String>(), standing()).prop_map(
                |(defect, place, text, standing)| Entry::Objection { defect, place, text, standing }
            ),
            (part(), name()).prop_map(|(part, name)| Entry::Machine { part, found: Ok(name) }),
            (part(), any::<String>()).prop_map(|(part, why)| Entry::Machine { part, found: Err(why) }),
        ]
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(sources in vec(entry(), 1..20)) {
            prop_assert_eq!(decode(&encode(sources.clone()).unwrap()).unwrap(), sources);
        }

        #[test]
        fn a_list_that_is_cut_or_goes_on_is_refused(sources in vec(entry(), 1..4), at: prop::sample::Index) {
            let mut list = encode(sources).unwrap();
            prop_assert!(decode(&list[..at.index(list.len())]).is_err());
            list.push(b'}');
            prop_assert!(matches!(decode(&list), Err(ListError::Json(_))));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }

        #[test]
        fn another_contract_is_told_apart_whatever_its_entries_are(
            contract in any::<u32>().prop_filter("another", |&other| other != CONTRACT),
            sources in "\\[(\\{\"x\":1\\})?\\]",
        ) {
            let list = format!("{{\"contract\":{contract},\"sources\":{sources},\"more\":null}}");
            let refused = decode(list.as_bytes());
            prop_assert!(matches!(refused, Err(ListError::Contract(theirs)) if theirs == contract));
        }
    }

    #[test]
    fn entries_without_a_contract_unknown_ones_and_none_at_all_are_refused() {
        for list in [
            "",
            "[]",
            r#"[{"label":"cache","library":"FILE:/x","display":"FILE:/x"}]"#,
            r#"{"contract":1,"sources":[{"ticket":{}}]}"#,
            r#"{"contract":1,"sources":[{"identities":{"library":"a","display":"b","uid":0}}]}"#,
            r#"{"contract":1,"sources":[{"identities":{"library":"a","display":"b"}}],"more":1}"#,
        ] {
            assert!(matches!(decode(list.as_bytes()), Err(ListError::Json(_))), "{list}");
        }
        assert!(matches!(decode(br#"{"contract":1,"sources":[]}"#), Err(ListError::Empty)));
    }

    /// Who changes this text raises [`CONTRACT`].
    #[test]
    fn this_contracts_list_looks_like_this() {
        let name =
            || CacheNames { library: "FILE:/proc/self/fd/5".to_owned(), display: "FILE:/a".to_owned() };
        let (place, text) = ("FILE:/b".to_owned(), "FILE:/b: gone".to_owned());
        let list = encode(vec![
            Entry::Cache { name: name(), standing: Standing::WishedMember },
            Entry::ClientKeytab(name()),
            Entry::Objection { defect: Defect::Absent, place, text, standing: Standing::Found },
            Entry::Machine { part: MachineSource::OwnCache, found: Err("none yet".to_owned()) },
        ]);
        let expected = concat!(
            r#"{"contract":1,"sources":["#,
            r#"{"cache":{"name":{"library":"FILE:/proc/self/fd/5","display":"FILE:/a"},"standing":"wished_member"}},"#,
            r#"{"client_keytab":{"library":"FILE:/proc/self/fd/5","display":"FILE:/a"}},"#,
            r#"{"objection":{"defect":"absent","place":"FILE:/b","text":"FILE:/b: gone","standing":"found"}},"#,
            r#"{"machine":{"part":"own_cache","found":{"Err":"none yet"}}}]}"#,
        );
        assert_eq!(String::from_utf8(list.unwrap()).unwrap(), expected);
    }
}
