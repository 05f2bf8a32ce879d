//! Puts a key into root's user keyring under one of its names.
//!
//! What a key replaces depends on who reads it. A client's upcall takes the predecessor too, if a server refuses the new key; so that
//! is kept for a while. A server takes every key whose name begins alike.

use std::collections::HashMap;
use std::time::Duration;

use super::loaded_names::{LoadedName, is_of_server, with_time};
use super::remaining::{self, ListedKey};
use super::root_keyring::{LoadedKey, RootKeyring, RootKeyringError};
use crate::creds::shared_key::{SharedKey, previous_of};
use crate::text::quoted;
use crate::time::{Span, local_now};

/// Seconds that a replaced key is kept.
pub(crate) const PREVIOUS_LIFE: u32 = 172_800;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verbosity {
    /// What matters.
    Usual,
    /// Each step.
    More,
}

/// A key on its way into the keyring.
pub(super) struct Loading<'a> {
    pub ring: &'a RootKeyring,
    pub key: &'a SharedKey,
    pub verbosity: Verbosity,
}

impl Loading<'_> {
    /// Keeps a former key with another secret as the predecessor, then replaces it.
    pub(super) fn for_a_client(
        &self,
        name: &LoadedName,
        remarks: &mut Vec<String>,
    ) -> Result<(), RootKeyringError> {
        if let Some(former) = self.ring.find(&name.text)? {
            self.keep(&former, &previous_of(&name.text), remarks)?;
        }
        self.put(&name.text, remarks)
    }

    /// Keeps a former key with another secret under this name, for a while or as long as it would have lasted. One that others
    /// could write to may be of their making: it is not kept, nor what was kept before it.
    fn keep(
        &self,
        former: &LoadedKey,
        previous: &str,
        remarks: &mut Vec<String>,
    ) -> Result<(), RootKeyringError> {
        let Some(key) = former.shared().filter(|key| self.differs(key)) else { return Ok(()) };
        if former.is_open {
            if let Some(older) = self.ring.find(previous)? {
                self.ring.remove(&older)?;
            }
            let why = "others than root could read or change it";
            remarks
                .push(format!("the former key is gone: {why}, so it does not stay for servers that have it"));
            return Ok(());
        }
        let life = shorter(PREVIOUS_LIFE.into(), remaining_of(former, &remaining::of_all_keys()));
        self.ring.put(previous, &key.encode(), Some(Duration::from_secs(life)))?;
        remarks.push(format!("the former key stays for {} as {}", Span(life), quoted(previous)));
        Ok(())
    }

    /// Replaces the former key of the name, and says which ones with a time in their names serve on.
    pub(super) fn for_a_server(
        &self,
        name: &LoadedName,
        remarks: &mut Vec<String>,
    ) -> Result<(), RootKeyringError> {
        let (replaced, beside): (Vec<_>, Vec<_>) =
            self.serving(name)?.into_iter().partition(|key| key.name == name.text);
        self.put(&name.text, remarks)?;
        if replaced.iter().filter_map(LoadedKey::shared).any(|former| self.differs(former)) {
            let former = quoted(&name.text);
            remarks.push(format!(
                "the former key {former} is gone, and clients that have no other are refused from now on; \
                     --suffix lets it serve for a while"
            ));
        }
        for key in beside {
            let same = key.has_secret(&self.key.secret);
            let secret = if same { "the same secret" } else { "another secret" };
            let stays = format!("{} stays loaded with {secret}, and remains usable", quoted(&key.name));
            remarks.push(format!(
                "{stays}; lgss_sk -R of the file with its secret, then -l of this one again, ends it"
            ));
        }
        Ok(())
    }

    /// What a server takes under this name.
    fn serving(&self, name: &LoadedName) -> Result<Vec<LoadedKey>, RootKeyringError> {
        let all = self.ring.all()?.into_iter();
        Ok(all.filter(|key| is_of_server(&key.name, &name.text) && !key.has_ended()).collect())
    }

    /// Puts the key in under a name of its own, and lets the former ones end. One that ends sooner keeps its end. Others
    /// than root have no more rights to them then: an open one is replaced by a copy.
    pub(super) fn beside_the_former(
        &self,
        name: &LoadedName,
        life: Duration,
        remarks: &mut Vec<String>,
    ) -> Result<(), RootKeyringError> {
        let former = self.serving(name)?;
        if former.is_empty() {
            return self.put(&name.text, remarks);
        }
        self.put(&with_time(&name.text, local_now()), remarks)?;
        let listed = remaining::of_all_keys();
        for key in former {
            let remaining = remaining_of(&key, &listed);
            let ends_sooner = remaining.is_some_and(|left| left + remaining::unit_of(left) <= life.as_secs());
            let life = shorter(life.as_secs(), remaining);
            let name = quoted(&key.name);
            match key.shared().filter(|_| key.is_open) {
                // Whoever has linked it can write to it, whatever its permissions become; so it gives way to a copy.
                Some(shared) => {
                    self.ring.put(&key.name, &shared.encode(), Some(Duration::from_secs(life)))?;
                    remarks.push(format!("{name}: others than root could read or change it until now"));
                }
                None if ends_sooner => continue,
                None => self.ring.let_end(&key, Duration::from_secs(life))?,
            }
            remarks.push(format!("{name} serves for another {}", Span(life)));
        }
        Ok(())
    }

    fn differs(&self, former: &SharedKey) -> bool {
        former.secret.expose() != self.key.secret.expose()
    }

    fn put(&self, name: &str, remarks: &mut Vec<String>) -> Result<(), RootKeyringError> {
        let serial = self.ring.put(name, &self.key.encode(), None)?;
        if self.verbosity == Verbosity::More {
            remarks.push(format!("loaded {} as key {}", quoted(name), serial.raw()));
        }
        Ok(())
    }
}

/// Seconds until a loaded key ends; `None` if it has no end, or if the kernel does not say.
fn remaining_of(key: &LoadedKey, listed: &HashMap<i32, ListedKey>) -> Option<u64> {
    listed.get(&key.serial.raw())?.remaining.seconds()
}

fn shorter(life: u64, other: Option<u64>) -> u64 {
    other.map_or(life, |other| other.clamp(1, life))
}
