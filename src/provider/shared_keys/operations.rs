//! The operations on shared keys.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listing::{self, LoadedRow};
use super::loaded_names::{NameReader, names_of};
use super::loading::{Loading, Verbosity};
use super::remaining;
use super::root_keyring::{RootKeyring, RootKeyringError};
use crate::class::{classes, secret_from_pipe};
use crate::creds::shared_key::SharedKey;
use crate::provider::operation::{Delegable, RootRights, Undone};
use crate::secret::Secret;
use crate::text::counted;

/// Lists the keys that are loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListSharedKeys {}

classes!(ListSharedKeys {});

impl Delegable for ListSharedKeys {
    const METHOD: &'static str = "sk_list";
    type Answer = Vec<LoadedRow>;

    fn act(self, _: &RootRights) -> Result<Vec<LoadedRow>, Undone> {
        let listed = remaining::of_all_keys();
        let keys = RootKeyring::open()?.all()?;
        Ok(keys.into_iter().map(|key| listing::row(key, &listed)).collect())
    }

    fn words(&self) -> String {
        "list of shared keys".to_owned()
    }

    fn outcome(answer: &Vec<LoadedRow>) -> String {
        counted(answer.len(), "key")
    }

    fn as_root(&self) -> String {
        "sudo lgss_sk list".to_owned()
    }
}

/// Loads a key under all its names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadSharedKey {
    /// Its binary form.
    #[serde(deserialize_with = "secret_from_pipe")]
    pub key: Secret,
    /// The uuid of the client whose mount it is for alone.
    pub mount: Option<String>,
    /// Seconds that former keys of servers serve on beside it; without this they are replaced.
    pub suffix: Option<u32>,
    /// How much is said.
    pub verbosity: Verbosity,
}

/// What came of loading a key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Loaded {
    /// The names under which it is loaded.
    pub names: Vec<String>,
    /// What somebody should know.
    pub remarks: Vec<String>,
    /// Why it is not loaded under the other names.
    pub refusal: Option<Undone>,
}

classes!(over_pipe LoadSharedKey { key: secret, mount: public, suffix: public, verbosity: public });

classes!(Loaded { names: public, remarks: public, refusal: public });

impl Delegable for LoadSharedKey {
    const METHOD: &'static str = "sk_load";
    type Answer = Loaded;

    fn act(self, _: &RootRights) -> Result<Loaded, Undone> {
        let key = SharedKey::decode(self.key.expose())
            .map_err(|error| Undone::plain(format!("this is no shared key: {error}")))?;
        if self.mount.as_deref().is_some_and(|client| !is_uuid(client)) {
            return Err(Undone::plain("this is no uuid of a client of Lustre's"));
        }
        let names = names_of(&key, self.mount.as_deref())
            .ok_or_else(|| Undone::plain("the key has no file system name, so it cannot be loaded"))?;
        let ring = RootKeyring::open()?;
        let mut loaded = Loaded { names: Vec::new(), remarks: Vec::new(), refusal: None };
        if !ring.is_the_hosts() {
            loaded
                .remarks
                .push("this is a container's root, and Lustre takes keys of the host's root only".to_owned());
        }
        let loading = Loading { ring: &ring, key: &key, verbosity: self.verbosity };
        for name in names {
            let remarks = &mut loaded.remarks;
            let done = match (name.reader, self.suffix) {
                (NameReader::Client, _) => loading.for_a_client(&name, remarks),
                (NameReader::Server, None) => loading.for_a_server(&name, remarks),
                (NameReader::Server, Some(life)) => {
                    loading.beside_the_former(&name, Duration::from_secs(life.into()), remarks)
                }
            };
            match done {
                Ok(()) => loaded.names.push(name.text),
                Err(error) => {
                    loaded.refusal = Some(error.into());
                    break;
                }
            }
        }
        Ok(loaded)
    }

    fn words(&self) -> String {
        match SharedKey::decode(self.key.expose()) {
            Ok(key) => {
                let names = names_of(&key, self.mount.as_deref()).unwrap_or_default();
                let names: Vec<_> = names.into_iter().map(|name| name.text).collect();
                format!("load of shared key {}", names.join(", "))
            }
            Err(_) => "load of what is no shared key".to_owned(),
        }
    }

    fn outcome(answer: &Loaded) -> String {
        match &answer.refusal {
            Some(refusal) => {
                format!("loaded as {}, then failed: {refusal}", counted(answer.names.len(), "name"))
            }
            None => format!("loaded as {}", counted(answer.names.len(), "name")),
        }
    }

    fn as_root(&self) -> String {
        "sudo lgss_sk --load FILE".to_owned()
    }
}

/// Whether this can be the uuid of a client: it becomes part of a key's name.
fn is_uuid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl From<RootKeyringError> for Undone {
    fn from(error: RootKeyringError) -> Self {
        Self { cause: error.to_string(), remedy: error.remedy() }
    }
}
