//! `lgss config show --classes`: what may become of each setting, and of each field of requests and messages.

use std::io;

use serde::Serialize;

use crate::class::{Class, ClassedField, HasClasses};
use crate::cli::exit::Exit;
use crate::config::Config;
use crate::creds::source_list::SourceEntry;
use crate::ctx::lustre::LustreCallout;
use crate::ctx::request::Callout;
use crate::hook::{CacheAnswer, CacheInput, HostAnswer, HostInput, OPERATOR_FIELDS};
use crate::negotiate::channel::answer::Answer;
use crate::negotiate::messages::{Message, Request};
use crate::negotiate::renewing::RenewalOrder;
use crate::provider::contexts::ListContexts;
use crate::provider::contexts::ending::EndContexts;
use crate::provider::hooks::RunHook;
use crate::provider::log::ReadLog;
use crate::provider::programs::ShowCaches;
use crate::provider::shared_keys::{LoadSharedKey, Loaded};
use crate::terminal::wait_line::Output;
use crate::terminal::{Terminal, results};

/// Everything that has classes, by the word for it.
const ALL: [(&str, &[ClassedField]); 20] = [
    ("setting", Config::FIELDS),
    ("callout", Callout::FIELDS),
    ("lustre-callout", LustreCallout::FIELDS),
    ("sources", SourceEntry::FIELDS),
    ("request", Request::FIELDS),
    ("reply", Answer::FIELDS),
    ("worker", Message::FIELDS),
    ("renewal", RenewalOrder::FIELDS),
    ("hook-host", HostInput::FIELDS),
    ("hook-host-answer", HostAnswer::FIELDS),
    ("hook-credentials", CacheInput::FIELDS),
    ("hook-credentials-answer", CacheAnswer::FIELDS),
    ("hook-operator", OPERATOR_FIELDS),
    ("helper-list", ListContexts::FIELDS),
    ("helper-flush", EndContexts::FIELDS),
    ("helper-caches", ShowCaches::FIELDS),
    ("helper-log", ReadLog::FIELDS),
    ("helper-sk_load", LoadSharedKey::FIELDS),
    ("helper-hook", RunHook::FIELDS),
    ("helper-sk_load-answer", Loaded::FIELDS),
];

/// One value.
#[derive(Debug, Serialize)]
struct ClassRow {
    /// The word for what it is in.
    of: &'static str,
    /// Its name there.
    name: String,
    /// Its class.
    class: Class,
}

pub(super) fn run(output: Output, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let rows = rows();
    match output {
        Output::Json => results::json(&rows, terminal.out)?,
        Output::Text => {
            let cells = rows.into_iter().map(|row| [row.of.to_owned(), row.name, row.class.to_string()]);
            results::table(["OF", "NAME", "CLASS"], &cells.collect::<Vec<_>>(), terminal.out)?;
        }
    }
    Ok(Exit::Ok)
}

fn rows() -> Vec<ClassRow> {
    let listed = ALL.into_iter().flat_map(|(of, fields)| {
        let mut listed = Vec::new();
        ClassedField::list(fields, "", &mut listed);
        listed.into_iter().map(move |(name, class)| ClassRow { of, name, class })
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names of all values in a table of settings.
    fn names(table: &toml::Table, before: &str, found: &mut BTreeSet<String>) {
        for (name, value) in table {
            match value {
                toml::Value::Table(table) if name != "nids" => {
                    names(table, &format!("{before}{name}."), found)
                }
                _ => drop(found.insert(format!("{before}{name}"))),
            }
        }
    }

    #[test]
    fn every_setting_that_a_file_may_have_is_in_the_table_and_nothing_else_is() {
        let table = "realm = \"R\"\nkeytab = \"/k\"\nprincipal = \"p\"\n";
        let text = format!(
            "[file_system.'*']\n{table}[namespace.'*']\n{table}owner = 1\ncgroup = \"/c\"\nkrb5_config = \"/k\"\n"
        );
        let config: Config = toml::from_str(&text).unwrap();
        let mut written = BTreeSet::new();
        names(&toml::Table::try_from(&config).unwrap(), "", &mut written);
        let listed: BTreeSet<_> =
            rows().into_iter().filter(|row| row.of == "setting").map(|row| row.name).collect();
        assert_eq!(listed, written);
    }

    #[test]
    fn key_material_is_secret_wherever_it_is_and_no_name_is_there_twice() {
        let rows = rows();
        let secret: Vec<_> = rows
            .iter()
            .filter(|row| row.class == Class::Secret)
            .map(|row| format!("{} {}", row.of, row.name))
            .collect();
        assert_eq!(
            secret,
            [
                "reply token",
                "worker Ready.cache",
                "worker Token.token",
                "worker Report.report.Established.base_key",
                "worker Report.report.Shared.keys",
                "hook-credentials-answer ccache",
                "helper-sk_load key"
            ]
        );
        let names: BTreeSet<_> = rows.iter().map(|row| (row.of, row.name.as_str())).collect();
        assert_eq!(names.len(), rows.len());
    }
}
