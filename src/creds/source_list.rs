//! The list of sources that the launcher hands to the worker: the number of the contract, then one typed entry for
//! each source, in JSON.
//!
//! Written by src/upcall/launcher.rs to sealed memory that only the worker gets: arguments would show the names of
//! caches in lists of processes, and have a limit. Decoded once by src/worker. Invariant: a list of another contract
//! is refused before its entries are decoded.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::source::{
    CacheNames, Defect, MachineSource, PrimeTest, Source, SourceHandle, SourceRole, Standing,
};
use crate::class::classes;

/// Number of the contract between launcher, monitor and worker of one build. Raise it with every change of the
/// entries here or of src/negotiate/messages.
pub(crate) const CONTRACT: u32 = 4;

/// Longest list, in bytes.
pub(crate) const SOURCE_LIST_LIMIT: usize = 4 * 1024 * 1024;

/// A source in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SourceEntry {
    /// A credential cache of the requester's.
    Cache {
        /// Its names.
        name: CacheNames,
        /// How it was named.
        standing: Standing,
    },
    /// A collection that was named, and that the library has to list.
    Collection {
        /// Its names.
        name: CacheNames,
        /// How it was named.
        standing: Standing,
    },
    /// A collection that was not named and may not exist.
    PossibleCollection(CacheNames),
    /// A keytab of the requester's, for when no cache is usable.
    ClientKeytab(CacheNames),
    /// The requester's rules for its principal by service (k5identity(5)).
    Identities(CacheNames),
    /// A place that cannot be used.
    Objection {
        /// What is wrong with it.
        defect: Defect,
        /// Its name alone.
        place: String,
        /// The place and the reason.
        text: String,
        /// How it was named.
        standing: Standing,
    },
    /// A shared key of a file system's; the best comes first.
    SharedKey {
        /// Its names.
        name: CacheNames,
        /// Whether its prime still has to be tested.
        prime: PrimeTest,
    },
    /// A part of the machine's credentials.
    Machine {
        /// Which part.
        part: MachineSource,
        /// Its names, or why it is missing.
        found: Result<CacheNames, String>,
    },
}

classes!(SourceEntry {
    Cache { name: fields(CacheNames), standing: public },
    Collection { name: fields(CacheNames), standing: public },
    PossibleCollection(name: fields(CacheNames)),
    ClientKeytab(name: fields(CacheNames)),
    Identities(name: fields(CacheNames)),
    Objection { defect: public, place: public, text: public, standing: public },
    SharedKey { name: fields(CacheNames), prime: public },
    Machine { part: public, found: public },
});

impl SourceEntry {
    /// The entry for a source; `keep` takes over the descriptor and returns the name by which the reader finds it.
    pub(crate) fn of(source: Source, keep: impl FnOnce(OwnedFd) -> String) -> Self {
        let Source { role, standing, display, handle } = source;
        let (library, is_there) = match handle {
            SourceHandle::Descriptor(descriptor) => (keep(descriptor), true),
            SourceHandle::Name(name) => (name, true),
            SourceHandle::Nothing(place) => (place, false),
        };
        let name = CacheNames { library, display };
        match role {
            SourceRole::Cache => Self::Cache { name, standing },
            SourceRole::Collection => Self::Collection { name, standing },
            SourceRole::PossibleCollection => Self::PossibleCollection(name),
            SourceRole::ClientKeytab => Self::ClientKeytab(name),
            SourceRole::Identities => Self::Identities(name),
            SourceRole::SharedKey(prime) => Self::SharedKey { name, prime },
            SourceRole::Unfit(defect) => {
                let CacheNames { library: place, display: text } = name;
                Self::Objection { defect, place, text, standing }
            }
            SourceRole::Machine(part) => {
                Self::Machine { part, found: if is_there { Ok(name) } else { Err(name.display) } }
            }
        }
    }

    /// Whether new tickets may be stored in it.
    #[cfg(feature = "gss")]
    pub(crate) fn is_written(&self) -> bool {
        matches!(self, Self::Cache { .. } | Self::Collection { .. } | Self::PossibleCollection(_))
    }

    /// The name by which the library finds it, if there is something to be found.
    #[cfg(feature = "gss")]
    pub(crate) fn name(&self) -> Option<&str> {
        self.names().ok().map(|name| name.library.as_str())
    }

    /// Its name for people; for a place that cannot be used, also the reason.
    #[cfg(feature = "gss")]
    pub(crate) fn display(&self) -> &str {
        self.names().map_or_else(|text| text, |name| name.display.as_str())
    }

    /// Its names, or the text about what cannot be used.
    #[cfg(feature = "gss")]
    fn names(&self) -> Result<&CacheNames, &str> {
        match self {
            Self::Cache { name, .. }
            | Self::Collection { name, .. }
            | Self::PossibleCollection(name)
            | Self::ClientKeytab(name)
            | Self::Identities(name)
            | Self::SharedKey { name, .. }
            | Self::Machine { found: Ok(name), .. } => Ok(name),
            Self::Objection { text, .. } | Self::Machine { found: Err(text), .. } => Err(text),
        }
    }
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// It was written by another build.
    #[cfg(any(feature = "gss", test))]
    #[error("the programs are of different versions: contract {0} with a worker of {CONTRACT}")]
    Contract(u32),
    /// The worker would not read it to its end.
    #[error("list of sources: it has {0} bytes, and {SOURCE_LIST_LIMIT} is the limit")]
    Long(usize),
    /// It is not a list.
    #[error("list of sources: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no entries.
    #[cfg(any(feature = "gss", test))]
    #[error("list of sources: empty")]
    Empty,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    contract: u32,
    sources: Vec<SourceEntry>,
}

/// The part that the lists of all contracts have in common.
#[cfg(any(feature = "gss", test))]
#[derive(Deserialize)]
struct Head {
    contract: u32,
}

/// Encodes a list.
///
/// # Errors
/// [`ListError::Json`], [`ListError::Long`].
pub(crate) fn encode(sources: Vec<SourceEntry>) -> Result<Vec<u8>, ListError> {
    let list = serde_json::to_vec(&List { contract: CONTRACT, sources })?;
    if list.len() > SOURCE_LIST_LIMIT { Err(ListError::Long(list.len())) } else { Ok(list) }
}

/// Decodes a list; bytes after its end are refused.
///
/// # Errors
/// [`ListError`].
#[cfg(any(feature = "gss", test))]
pub(crate) fn decode(list: &[u8]) -> Result<Vec<SourceEntry>, ListError> {
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
    use std::collections::HashSet;

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

    fn entry() -> impl Strategy<Value = SourceEntry> {
        prop_oneof![
            (name(), standing()).prop_map(|(name, standing)| SourceEntry::Cache { name, standing }),
            (name(), standing()).prop_map(|(name, standing)| SourceEntry::Collection { name, standing }),
            name().prop_map(SourceEntry::PossibleCollection),
            name().prop_map(SourceEntry::ClientKeytab),
            name().prop_map(SourceEntry::Identities),
            (defect(), any::<String>(), any::<String>(), standing()).prop_map(
                |(defect, place, text, standing)| SourceEntry::Objection { defect, place, text, standing }
            ),
            (name(), any::<bool>()).prop_map(|(name, due)| SourceEntry::SharedKey {
                name,
                prime: if due { PrimeTest::Due } else { PrimeTest::Passed },
            }),
            (part(), name()).prop_map(|(part, name)| SourceEntry::Machine { part, found: Ok(name) }),
            (part(), any::<String>()).prop_map(|(part, why)| SourceEntry::Machine { part, found: Err(why) }),
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
            r#"{"contract":4,"sources":[{"ticket":{}}]}"#,
            r#"{"contract":4,"sources":[{"identities":{"library":"a","display":"b","uid":0}}]}"#,
            r#"{"contract":4,"sources":[{"identities":{"library":"a","display":"b"}}],"more":1}"#,
        ] {
            assert!(matches!(decode(list.as_bytes()), Err(ListError::Json(_))), "{list}");
        }
        assert!(matches!(decode(br#"{"contract":4,"sources":[]}"#), Err(ListError::Empty)));
    }

    #[test]
    fn a_list_that_the_worker_would_not_read_to_its_end_is_not_written() {
        let long = |length| CacheNames { library: "x".repeat(length), display: String::new() };
        let list = |length| encode(vec![SourceEntry::ClientKeytab(long(length))]);
        let rest = list(0).unwrap().len();
        assert_eq!(list(SOURCE_LIST_LIMIT - rest).unwrap().len(), SOURCE_LIST_LIMIT);
        let refused = list(SOURCE_LIST_LIMIT - rest + 1).unwrap_err().to_string();
        assert_eq!(refused, "list of sources: it has 4194305 bytes, and 4194304 is the limit");
    }

    #[test]
    fn the_fuzzers_seeds_have_each_kind_of_entry_in_lists_of_this_contract() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/worker_messages");
        let inputs =
            std::fs::read_dir(seeds).unwrap().map(|seed| std::fs::read(seed.unwrap().path()).unwrap());
        // The first byte chooses the check (fuzz/src/lib.rs).
        let lists = inputs.filter_map(|input| decode(input.get(1..)?).ok());
        let kinds: HashSet<_> = lists.flatten().map(|entry| std::mem::discriminant(&entry)).collect();
        assert_eq!(kinds.len(), 8, "a new contract: change its number in the seeds, too");
    }

    /// Who changes this text raises [`CONTRACT`].
    #[test]
    fn this_contracts_list_looks_like_this() {
        let name =
            || CacheNames { library: "FILE:/proc/self/fd/6".to_owned(), display: "FILE:/a".to_owned() };
        let (place, text) = ("FILE:/b".to_owned(), "FILE:/b: gone".to_owned());
        let list = encode(vec![
            SourceEntry::Cache { name: name(), standing: Standing::WishedMember },
            SourceEntry::ClientKeytab(name()),
            SourceEntry::Objection { defect: Defect::Absent, place, text, standing: Standing::Found },
            SourceEntry::SharedKey { name: name(), prime: PrimeTest::Due },
            SourceEntry::Machine { part: MachineSource::OwnCache, found: Err("none yet".to_owned()) },
        ]);
        let expected = concat!(
            r#"{"contract":4,"sources":["#,
            r#"{"cache":{"name":{"library":"FILE:/proc/self/fd/6","display":"FILE:/a"},"standing":"wished_member"}},"#,
            r#"{"client_keytab":{"library":"FILE:/proc/self/fd/6","display":"FILE:/a"}},"#,
            r#"{"objection":{"defect":"absent","place":"FILE:/b","text":"FILE:/b: gone","standing":"found"}},"#,
            r#"{"shared_key":{"name":{"library":"FILE:/proc/self/fd/6","display":"FILE:/a"},"prime":"due"}},"#,
            r#"{"machine":{"part":"own_cache","found":{"Err":"none yet"}}}]}"#,
        );
        assert_eq!(String::from_utf8(list.unwrap()).unwrap(), expected);
    }
}
