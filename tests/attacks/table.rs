//! The attacks in docs/security-results.md.

use crate::attack::{Attack, World};
use std::fmt::Write;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security-results.md");
const START: &str = "<!-- attacks: written by tests/attacks -->\n";
const END: &str = "<!-- end of attacks -->\n";
/// The least number of cases.
const LEAST: usize = 350;

/// Compares the table with the attacks, or writes it if the variable LGSS_WRITE_PAGES is set.
///
/// # Panics
/// If it is out of date, or there are two attacks of one name, or too few.
pub(crate) fn check(attacks: &[Attack]) {
    let mut names: Vec<_> = attacks.iter().map(|attack| &attack.name).collect();
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two attacks have one name: {names:?}");
    let cases: usize = attacks.iter().map(|attack| attack.worlds.len()).sum();
    assert!(cases >= LEAST, "only {cases} cases");
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(START).expect("where the table begins");
    let (table, after) = rest.split_once(END).expect("where the table ends");
    let new = table_of(attacks);
    if std::env::var_os("LGSS_WRITE_PAGES").is_some() {
        std::fs::write(FILE, format!("{before}{START}{new}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            table, new,
            "out of date: LGSS_WRITE_PAGES=1 cargo test --features test-programs --test attacks the_table"
        );
    }
}

fn table_of(attacks: &[Attack]) -> String {
    let mut table = "\n| rule | attack | from | result |\n|---|---|---|---|\n".to_owned();
    let mut sorted: Vec<_> = attacks.iter().collect();
    sorted.sort_by_key(|attack| attack.rule.trim_start_matches('S').parse::<u32>().unwrap());
    for attack in sorted {
        let from = if attack.worlds == World::BOTH { "both" } else { attack.worlds[0].word() };
        writeln!(table, "| {} | {} | {from} | {} |", attack.rule, attack.name, attack.end.word()).unwrap();
    }
    table.push('\n');
    table
}
