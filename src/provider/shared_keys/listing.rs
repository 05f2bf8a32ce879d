//! The shared keys that are loaded, without their secrets.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::remaining::{ListedKey, Remaining};
use super::root_keyring::{LoadedContent, LoadedKey};
use crate::creds::shared_key::SharedKey;
use crate::time::Span;

/// One key; has no place for a secret.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoadedReport {
    /// The description.
    pub name: String,
    /// As keyctl(1) names it.
    pub serial: i32,
    /// Whether it ends by itself, if the kernel says so.
    pub ends: Option<bool>,
    /// Seconds until then, at least; the kernel gives a whole number of its largest unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<u64>,
    /// Whether others than root may read or change the key.
    pub open_to_others: bool,
    /// What it holds, if that is a shared key.
    #[serde(flatten)]
    pub attributes: Option<KeyAttributes>,
    /// Why it is no use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What may be shown of a shared key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyAttributes {
    /// For whom it is: `client`, `server`, `mgs`.
    pub types: Vec<String>,
    /// The file system; may be empty.
    pub file_system: String,
    /// The nodemap.
    pub nodemap: String,
    /// The management servers.
    pub mgs_nids: Vec<String>,
    /// Length of the secret.
    pub secret_bits: usize,
    /// Length of the prime.
    pub prime_bits: u32,
    /// What signs.
    pub hmac: String,
    /// What encrypts.
    pub cipher: String,
    /// How long a context lasts, in seconds.
    pub context_seconds: u32,
}

/// A key with the time that it has left, in words.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoadedRow {
    /// The key.
    pub report: LoadedReport,
    /// The time.
    pub left: String,
}

pub(super) fn row(key: LoadedKey, listed: &HashMap<i32, ListedKey>) -> LoadedRow {
    let remaining = match key.has_ended() {
        true => Some(Remaining::Nothing),
        false => listed.get(&key.serial.raw()).map(|listed| listed.remaining),
    };
    let trouble = match &key.content {
        LoadedContent::Shared(_) => None,
        LoadedContent::Other(error) => Some(format!("not a shared key: {error}")),
        LoadedContent::Expired => Some("it has expired".to_owned()),
        LoadedContent::Revoked => Some("it has been revoked".to_owned()),
        LoadedContent::Unreadable(errno) => Some(format!("it cannot be read: {}", errno.desc())),
    };
    let left = left(&key, remaining);
    let report = LoadedReport {
        serial: key.serial.raw(),
        ends: remaining.map(|remaining| remaining != Remaining::ForEver),
        left_seconds: remaining.and_then(Remaining::seconds),
        open_to_others: key.is_open,
        attributes: key.shared().map(attributes),
        trouble,
        name: key.name,
    };
    LoadedRow { report, left }
}

fn left(key: &LoadedKey, remaining: Option<Remaining>) -> String {
    match (&key.content, remaining) {
        (LoadedContent::Revoked, _) => "revoked".to_owned(),
        (_, None) => "?".to_owned(),
        (_, Some(Remaining::ForEver)) => "no end".to_owned(),
        (_, Some(Remaining::Nothing | Remaining::Seconds(0))) => "expired".to_owned(),
        (_, Some(Remaining::Seconds(seconds))) => Span(seconds).to_string(),
    }
}

fn attributes(key: &SharedKey) -> KeyAttributes {
    KeyAttributes {
        types: key.types.words().map(str::to_owned).collect(),
        file_system: key.file_system.clone(),
        nodemap: key.nodemap.clone(),
        mgs_nids: key.mgs_nids.iter().map(ToString::to_string).collect(),
        secret_bits: key.secret.len() * 8,
        prime_bits: key.prime_bits,
        hmac: key.hmac.shown_name().to_owned(),
        cipher: key.cipher.shown_name().to_owned(),
        context_seconds: key.expire,
    }
}
