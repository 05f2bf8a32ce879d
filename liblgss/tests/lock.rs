//! liblgss is built of the packages that the main Cargo.lock names, in the same versions, which docs/dependencies.md records.
#![expect(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_package_is_one_of_the_main_lock_file() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (ours, main) = (packages(&here.join("Cargo.lock")), packages(&here.join("../Cargo.lock")));
    let others: Vec<_> = ours.difference(&main).collect();
    assert_eq!(
        others.len(),
        1,
        "only liblgss itself: cp Cargo.lock liblgss/, then cargo metadata: {others:?}"
    );
}

/// Name, version, source and checksum of each, but not its dependencies, of which fewer are named here.
fn packages(lock: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(lock).unwrap();
    let packages = text.split("[[package]]\n").skip(1);
    packages.map(|package| package.split("dependencies = [").next().unwrap().trim().to_owned()).collect()
}
