//! Results for people and for programs: tables, and JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::text;

/// Prints rows under a heading; each column is as wide as its widest cell, with two blanks between columns.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: &[[String; N]],
    out: &mut dyn Write,
) -> io::Result<()> {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| text::escaped(cell))).collect();
    let lines = || std::iter::once(heading).chain(rows.iter().map(|row| row.each_ref().map(|cell| &**cell)));
    let mut widths = [0; N];
    for line in lines() {
        widths.iter_mut().zip(line).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    for line in lines() {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints one value as indented JSON.
pub(crate) fn json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    writeln!(out, "{}", text::plain_json(&json))
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let mut out = Vec::new();
        let rows = [["1".to_owned(), "établi".to_owned()], ["23456".to_owned(), "x".to_owned()]];
        table(["KEY", "STATE"], &rows, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "KEY    STATE\n1      établi\n23456  x\n");
    }
}
