//! `lgss_sk list`: the shared keys that are loaded, without their secrets.

use std::collections::HashMap;

use nix::errno::Errno;
use serde::Serialize;

use super::arguments::SkListArgs;
use super::failure::SkFailure;
use super::remaining::{self, Remaining};
use super::root_keyring::{LoadedContent, LoadedKey, RootKeyring};
use super::values::{cipher_name, hmac_name};
use crate::creds::shared_key::SharedKey;
use crate::terminal::{Terminal, results};
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
    /// Whether others than root may do anything with the key.
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
    let remaining = remaining::of_all_keys();
    let keys = RootKeyring::open()?.all()?;
    let reports: Vec<LoadedReport> = keys.into_iter().map(|key| report(key, &remaining)).collect();
    if list.json {
        results::json(&reports, terminal.out)?;
        return Ok(());
    }
    if reports.is_empty() {
        writeln!(terminal.err, "lgss_sk: no shared key is loaded")?;
        return Ok(());
    }
    let rows: Vec<_> = reports.iter().map(row).collect();
    let heading = ["NAME", "TYPE", "FILE SYSTEM", "NODEMAP", "BITS", "PRIME", "LEFT"];
    results::table(heading, &rows, terminal.out)?;
    for report in &reports {
        remark(report, terminal)?;
    }
    Ok(())
}

fn report(key: LoadedKey, remaining: &HashMap<i32, Remaining>) -> LoadedReport {
    let remaining = remaining.get(&key.serial.raw());
    let trouble = match &key.content {
        LoadedContent::Shared(_) => None,
        LoadedContent::Other(error) => Some(format!("it is no shared key: {error}")),
        LoadedContent::Ended(Errno::EKEYEXPIRED) => Some("it has expired".to_owned()),
        LoadedContent::Ended(Errno::EKEYREVOKED) => Some("it has been revoked".to_owned()),
        LoadedContent::Ended(errno) => Some(format!("it cannot be read: {}", errno.desc())),
    };
    LoadedReport {
        serial: key.serial.raw(),
        ends: remaining.map(|remaining| *remaining != Remaining::ForEver),
        left_seconds: remaining.and_then(|remaining| remaining.seconds()),
        open_to_others: key.is_open,
        attributes: key.shared().map(attributes),
        trouble,
        name: key.name,
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
    let left = match (report.ends, report.left_seconds) {
        (None, _) => "?".to_owned(),
        (Some(false), _) => "no end".to_owned(),
        (_, Some(0) | None) => "expired".to_owned(),
        (_, Some(seconds)) => Span(seconds).to_string(),
    };
    [
        report.name.clone(),
        of(|key| key.types.join(",")),
        of(|key| key.file_system.clone()),
        of(|key| key.nodemap.clone()),
        of(|key| key.secret_bits.to_string()),
        of(|key| key.prime_bits.to_string()),
        left,
    ]
}

fn remark(report: &LoadedReport, terminal: &mut Terminal<'_>) -> Result<(), SkFailure> {
    let name = crate::text::quoted(&report.name);
    if let Some(trouble) = &report.trouble {
        writeln!(terminal.err, "lgss_sk: {name}: {trouble}")?;
    }
    if report.open_to_others && report.attributes.is_some() {
        writeln!(
            terminal.err,
            "lgss_sk: {name}: others than root can read its secret; loading it anew closes it"
        )?;
    }
    Ok(())
}
