//! `lgss_sk list`: the shared keys that are loaded, without their secrets.

use super::arguments::SkListArgs;
use super::failure::SkFailure;
use super::remark::remark;
use crate::provider::shared_keys::{KeyAttributes, ListSharedKeys, LoadedReport};
use crate::provider::{Delegated, perform};
use crate::terminal::{Terminal, results};
use crate::text::quoted;

pub(super) fn run(list: &SkListArgs, terminal: &mut Terminal<'_>) -> Result<(), SkFailure> {
    let found = perform(Delegated::of_command(ListSharedKeys {}))?;
    let (reports, left): (Vec<_>, Vec<_>) = found.into_iter().map(|row| (row.report, row.left)).unzip();
    if list.json {
        results::json(&reports, terminal.out)?;
        return Ok(());
    }
    if reports.is_empty() {
        remark(terminal.err, "no shared key is loaded");
        return Ok(());
    }
    let rows: Vec<_> = reports.iter().zip(left).map(|(report, left)| row(report, left)).collect();
    let heading = ["NAME", "TYPE", "FILE SYSTEM", "NODEMAP", "BITS", "PRIME", "LEFT"];
    results::table(heading, &rows, terminal.out)?;
    for report in &reports {
        say_what_is_wrong(report, terminal);
    }
    Ok(())
}

fn row(report: &LoadedReport, left: String) -> [String; 7] {
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
        left,
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
