//! `lgss config show`: every setting in effect, and whether the file sets it.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::check_command;
use crate::cli::arguments::ConfigShowArgs;
use crate::cli::exit::Exit;
use crate::config::{Config, ConfigError, settings_file};
use crate::terminal::wait_line::Output;
use crate::terminal::{Terminal, results};

/// Origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum SettingSource {
    /// Built in.
    Default,
    /// Set in the file.
    File,
}

/// The name of its table, empty at the top; its own name; value; source.
type Setting = (String, String, toml::Value, SettingSource);

/// Column where comments start.
const COLUMN: usize = 44;

pub(crate) fn run(show: &ConfigShowArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    if show.classes {
        let output = if show.json { Output::Json } else { Output::Text };
        return super::classes::run(output, terminal);
    }
    let path = super::file_in_effect(show.config.as_deref());
    let path = path.as_deref();
    let settings = match Config::load(path).and_then(|config| settings(&config, path)) {
        Ok(settings) => settings,
        Err(error) => {
            writeln!(terminal.err, "lgss: {error}")?;
            writeln!(terminal.err, "  try:    {}, which says more", check_command(show.config.as_deref()))?;
            return Ok(Exit::Broken);
        }
    };
    let file = settings_file(path);
    if show.json {
        results::json(&as_json(settings, file), terminal.out)?;
    } else {
        let there = if file.exists() { "" } else { ", which does not exist" };
        writeln!(terminal.out, "# settings in effect; file: {}{there}", file.display())?;
        as_toml(&settings, terminal)?;
    }
    Ok(Exit::Ok)
}

/// All settings, top-level ones first, as a file must have them.
fn settings(config: &Config, path: Option<&Path>) -> Result<Vec<Setting>, ConfigError> {
    let file = settings_file(path);
    // If the file is missing, even since a moment ago, the defaults are in effect.
    let set: toml::Table =
        std::fs::read_to_string(file).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let all = toml::Table::try_from(config)
        .map_err(|error| ConfigError::Syntax(file.to_owned(), error.to_string()))?;
    let source = |is_set: bool| if is_set { SettingSource::File } else { SettingSource::Default };
    let (tables, top): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, value)| value.is_table());
    let mut settings: Vec<Setting> = top
        .into_iter()
        .map(|(name, value)| {
            let source = source(set.contains_key(&name));
            (String::new(), name, value, source)
        })
        .collect();
    for (table, values) in tables {
        let set = set.get(&table).and_then(toml::Value::as_table);
        for (name, value) in values.as_table().cloned().unwrap_or_default() {
            let source = source(set.is_some_and(|set| set.contains_key(&name)));
            settings.push((table.clone(), name, value, source));
        }
    }
    Ok(settings)
}

fn as_json(settings: Vec<Setting>, file: &Path) -> Value {
    let mut all = Map::new();
    for (table, name, value, source) in settings {
        let setting = json!({ "value": value, "source": source });
        if table.is_empty() {
            all.insert(name, setting);
        } else if let Value::Object(members) = all.entry(table).or_insert_with(|| json!({})) {
            members.insert(name, setting);
        }
    }
    json!({ "file": file.exists().then_some(file), "settings": all })
}

fn as_toml(settings: &[Setting], terminal: &mut Terminal<'_>) -> io::Result<()> {
    let mut current = "";
    for (table, name, value, source) in settings {
        if table != current {
            writeln!(terminal.out, "\n[{table}]")?;
            current = table;
        }
        let comment = match source {
            SettingSource::Default => "# default",
            SettingSource::File => "# set in the file",
        };
        writeln!(terminal.out, "{:<COLUMN$} {comment}", format!("{name} = {value}"))?;
    }
    Ok(())
}
