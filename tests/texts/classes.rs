//! docs/classes.md: the table of `lgss config show --classes`.

use std::process::Command;

use crate::{text, write_or_expect};

const DOCUMENT: &str = "docs/classes.md";
/// What follows in the document is generated.
const HEADING: &str = "\n## All of them\n\n| of | name | class |\n|---|---|---|\n";

#[test]
fn the_table_of_classes_is_that_of_the_command() {
    let words = ["config", "show", "--classes", "--json"];
    let output = Command::new(env!("CARGO_BIN_EXE_lgss")).args(words).output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = rows.as_array().unwrap().iter().map(|row| {
        let [of, name, class] = ["of", "name", "class"].map(|field| row[field].as_str().unwrap());
        format!("| {of} | `{name}` | {class} |\n")
    });
    let rows: Vec<String> = rows.collect();
    let document = text(DOCUMENT);
    let (head, _) = document.split_once(HEADING).unwrap();
    let current = format!("{head}{HEADING}{}", rows.concat());
    write_or_expect(DOCUMENT, &current);
    // Each word of the first column is explained before the table.
    for row in rows {
        let of = row.trim_start_matches("| ").split(' ').next().unwrap();
        assert!(head.contains(&format!("\n| `{of}` | ")), "{DOCUMENT} does not explain {of}");
    }
}
