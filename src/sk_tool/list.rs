//! `lgss_sk list`: the shared keys that are loaded, without their secrets.

use std::collections::HashMap;

use serde::Serialize;

use super::arguments::SkListArgs;
use super::failure::SkFailure;
use super::remaining::{self, ListedKey, Remaining};
use super::remark::remark;
use super::root_keyring::{LoadedContent, LoadedKey, RootKeyring};
use super::values::{cipher_name, hmac_name};
use crate::creds::shared_key::SharedKey;
use crate::terminal::{Terminal, results};
use crate::text::quoted;
use crate::time::Span;

/// One key; has no place for a secret.
#[derive(Debug, Serialize)]
struct LoadedReport {
    /// The description.
    name: String,
    /// As keyctl(1) names it.
    serial: i32,
    /// Whether it ends by itself, if the kernel says so.
    ends: Option<bool>,
    /// Seconds until then, at least; the kernel gives a whole number of its largest unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_seconds: Option<u64>,
    /// The same in words.
    #[serde(skip)]
    left: String,
    /// Whether others than root may read or change the key.
    open_to_others: bool,
    /// What it holds, if that is a shared key.
    #[serde(flatten)]
    attributes: Option<KeyAttributes>,
    /// Why it is no use.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// What may be shown of a shared key.
#[derive(Debug, Serialize)]
struct KeyAttributes {
    types: Vec<&'static str>,
    file_system: String,
    nodemap: String,
    mgs_nids: Vec<String>,
    secret_bits: usize,
    prime_bits: u32,
    hmac: &'static str,
    cipher: &'static str,
    context_seconds: u32,
}

pub(super) fn run(list: &SkListArgs, terminal: &mut Terminal<'_>) -> Result<(), SkFailure> {
    let listed = remaining::of_all_keys();
    let keys = RootKeyring::open()?.all()?;
    let reports: Vec<LoadedReport> = keys.into_iter().map(|key| report(key, &listed)).collect();
    if list.json {
        results::json(&reports, terminal.out)?;
        return Ok(());
    }
    if reports.is_empty() {
        remark(terminal.err, "no shared key is loaded");
        return Ok(());
    }
    let rows: Vec<_> = reports.iter().map(row).collect();
    let heading = ["NAME", "TYPE", "FILE SYSTEM", "NODEMAP", "BITS", "PRIME", "LEFT"];
    results::table(heading, &rows, terminal.out)?;
    for report in &reports {
        say_what_is_wrong(report, terminal);
    }
    Ok(())
}

fn report(key: LoadedKey, listed: &HashMap<i32, ListedKey>) -> LoadedReport {
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
    LoadedReport {
        serial: key.serial.raw(),
        ends: remaining.map(|remaining| remaining != Remaining::ForEver),
        left_seconds: remaining.and_then(Remaining::seconds),
        left: left(&key, remaining),
        open_to_others: key.is_open,
        attributes: key.shared().map(attributes),
        trouble,
        name: key.name,
    }
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
        types: key.types.words().collect(),
        file_system: key.file_system.clone(),
        nodemap: key.nodemap.clone(),
        mgs_nids: key.mgs_nids.iter().map(ToString::to_string).collect(),
        secret_bits: key.secret.len() * 8,
        prime_bits: key.prime_bits,
        hmac: hmac_name(key.hmac),
        cipher: cipher_name(key.cipher),
        context_seconds: key.expire,
    }
}

fn row(report: &LoadedReport) -> [String; 7] {
    let of = |value: fn(&KeyAttributes) -> String| match &report.attributes {
        Some(attributes) => value(attributes),
        None => "-".to_owned(),
    };
    [
        report.name.clone(),
        of(|key| key.types.join(",")),
        of(|key| key.file_system.clone()),
        of(|key| key.nodemap.clone()),
        of(|key| key.secret_bits.to_string()),
        of(|key| key.prime_bits.to_string()),
        report.left.clone(),
    ]
}

fn say_what_is_wrong(report: &LoadedReport, terminal: &mut Terminal<'_>) {
    let name = quoted(&report.name);
    if let Some(trouble) = &report.trouble {
        remark(terminal.err, format_args!("{name}: {trouble}"));
    }
    if report.open_to_others && report.attributes.is_some() {
        let open = "others than root can read or change it; loading it again closes it";
        remark(terminal.err, format_args!("{name}: {open}"));
    }
}
