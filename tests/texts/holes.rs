//! docs/cve.md: every hole has tests, each of them exists, and the rules it names are those of the threat model.

use std::collections::BTreeSet;

use super::security_tests::{rules, tests_by_name};
use crate::{quoted, text};

#[test]
fn every_hole_of_the_field_has_tests_that_exist() {
    let document = text("docs/cve.md");
    let (tests, rules) = (tests_by_name(), rules());
    let mut holes = BTreeSet::new();
    for row in document.lines().filter(|line| line.starts_with("| CVE-")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        let (hole, mistake, defence, shown_by) = (cells[0], cells[1], cells[2], cells[3]);
        let number = hole.split(',').next().unwrap();
        let digits: Vec<&str> = number.split('-').skip(1).collect();
        assert!(
            matches!(digits[..], [year, number] if year.len() == 4 && number.len() >= 4),
            "{number} is no number of a CVE"
        );
        assert!(holes.insert(number), "{number} is there twice");
        assert!(mistake.len() > 20 && defence.len() > 20, "{row}");
        let named: Vec<&str> = quoted(shown_by).collect();
        assert!(!named.is_empty(), "{number} has no test");
        for test in named {
            assert!(tests.contains_key(test), "{number}: there is no test {test}");
        }
        let words = defence.split(|c: char| !c.is_ascii_alphanumeric());
        let is_rule = |word: &&str| word.strip_prefix('S').is_some_and(|rest| rest.parse::<u32>().is_ok());
        for rule in words.filter(is_rule) {
            assert!(rules.iter().any(|known| known == rule), "{number}: there is no rule {rule}");
        }
    }
    assert!(holes.len() >= 20, "{holes:?}");
}
