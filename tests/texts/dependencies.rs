//! docs/dependencies.md: a record for every package that Cargo.lock names, of the version that it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::text;

/// Name and version.
type Package = (String, String);

fn table(file: &str) -> toml::Table {
    toml::from_str(&text(file)).unwrap()
}

/// The packages of others that Cargo.lock names.
fn locked() -> Vec<toml::Table> {
    let lock = table("Cargo.lock");
    let packages = lock.get("package").and_then(toml::Value::as_array).unwrap();
    let packages = packages.iter().map(|package| package.as_table().unwrap().clone());
    packages.filter(|package| package.get("name").and_then(toml::Value::as_str) != Some("lgss")).collect()
}

fn package(of: &toml::Table) -> Package {
    let field = |name: &str| of.get(name).and_then(toml::Value::as_str).unwrap().to_owned();
    (field("name"), field("version"))
}

/// The cells of each record, by the heading that it stands under.
fn records() -> BTreeMap<String, Vec<Vec<String>>> {
    let document = text("docs/dependencies.md");
    let sections = document.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap());
    let is_record = |line: &&str| line.starts_with("| ") && !line.starts_with("| package |");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    sections
        .map(|(heading, body)| (heading.to_owned(), body.lines().filter(is_record).map(cells).collect()))
        .collect()
}

#[test]
fn every_package_of_the_lock_file_has_a_record() {
    let locked: BTreeSet<Package> = locked().iter().map(package).collect();
    assert!(locked.len() > 50, "{locked:?}");
    let mut recorded = BTreeSet::new();
    for cells in records().into_values().flatten() {
        assert!(cells.iter().all(|cell| !cell.is_empty()), "a record with a gap: {cells:?}");
        let package = (cells[0].clone(), cells[1].clone());
        assert!(recorded.insert(package), "two records: {cells:?}");
    }
    let without: Vec<_> = locked.difference(&recorded).collect();
    let surplus: Vec<_> = recorded.difference(&locked).collect();
    assert!(
        without.is_empty() && surplus.is_empty(),
        "docs/dependencies.md has no record of {without:?}, and has {surplus:?}, which Cargo.lock does not name; \
         see there what to look at"
    );
}

#[test]
fn what_we_have_chosen_ourselves_is_recorded_with_a_reason() {
    let manifest = table("Cargo.toml");
    let chosen =
        |section: &str| manifest[section].as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let records = records();
    let names = |heading: &str| {
        records[heading].iter().map(|cells| (cells[0].clone(), cells.len())).collect::<BTreeMap<_, _>>()
    };
    let with_reason = names("What we have chosen");
    let ours: BTreeSet<String> =
        chosen("dependencies").union(&chosen("build-dependencies")).cloned().collect();
    assert_eq!(ours, with_reason.keys().cloned().collect::<BTreeSet<_>>());
    assert!(with_reason.values().all(|cells| *cells == 8), "{with_reason:?}");
    let tests = names("For tests only");
    for name in chosen("dev-dependencies").difference(&ours) {
        assert!(tests.contains_key(name), "{name} is not among the packages for tests");
    }
}

#[test]
fn every_package_is_of_the_one_registry_and_has_a_checksum() {
    let mut sources = BTreeSet::new();
    for package in locked() {
        let field =
            |name: &str| package.get(name).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        assert!(field("source").starts_with("registry+https://"), "{package:?}");
        assert_eq!(field("checksum").len(), 64, "{package:?}");
        sources.insert(field("source"));
    }
    assert_eq!(sources.len(), 1, "{sources:?}");
}
