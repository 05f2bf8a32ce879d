//! What must not compile: each file in tests/classes puts a value where its class forbids it, or gives a field no class.
//!
//! trybuild compares the compiler's objections with those kept beside the files. For this package it would check all features
//! and all dependencies of the tests once more, so it gets a package of its own, which has the library alone. Only crates
//! fetched for this package are used; nothing is downloaded. What the classes allow is shown in src/class.
#![expect(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use libtest_mimic::{Arguments, Trial};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MANIFEST: &str = "\
[package]
name = \"classes\"
version = \"0.0.0\"
edition = \"2024\"

[dependencies]
lgss = { path = \"LGSS\" }
serde = { version = \"1\", features = [\"derive\"] }
serde_json = \"1\"

[workspace]
";

/// The compiler whose objections are kept.
const COMPILER: &str = "rustc 1.95.0 ";

fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(version.stdout).unwrap()
}

macro_rules! trials {
    ($($name:ident),*) => { vec![$(Trial::test(stringify!($name), || { $name(); Ok(()) })),*] };
}

/// Set for the program when it is to pass the cases of the package in the working directory.
const WITHIN: &str = "LGSS_CASES_ARE_HERE";

fn main() {
    if std::env::var_os(WITHIN).is_some() {
        return trybuild::TestCases::new().compile_fail("cases/*.rs");
    }
    let trials = trials![a_value_where_its_class_forbids_it_and_a_field_without_a_class_do_not_compile];
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

fn a_value_where_its_class_forbids_it_and_a_field_without_a_class_do_not_compile() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = ours.join("tests/classes");
    fs::create_dir(here.join("src")).unwrap();
    fs::create_dir(here.join("cases")).unwrap();
    fs::write(here.join("Cargo.toml"), MANIFEST.replace("LGSS", ours.to_str().unwrap())).unwrap();
    fs::write(here.join("src/lib.rs"), "").unwrap();
    fs::copy(ours.join("Cargo.lock"), here.join("Cargo.lock")).unwrap();
    copy(&cases, &here.join("cases"));

    // trybuild knows its package by the variable.
    let mut within = Command::new(std::env::current_exe().unwrap());
    within.current_dir(here).env(WITHIN, "").env("CARGO_MANIFEST_DIR", here);
    within.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("classes"));
    within.env("CARGO_NET_OFFLINE", "true");
    within.env_remove("CARGO_BUILD_TARGET").env_remove("RUSTFLAGS");
    let is_written = std::env::var_os("LGSS_WRITE_PAGES").is_some();
    // Another compiler's words differ. That the cases do not compile is still demanded.
    if is_written || !compiler().starts_with(COMPILER) {
        within.env("TRYBUILD", "overwrite");
    }
    let output = within.output().unwrap();
    if is_written {
        copy(&here.join("cases"), &cases);
    }
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let passed = said.matches(" ... ").count();
    assert!(
        output.status.success() && passed == files(&cases).iter().filter(|file| is_case(file)).count(),
        "{said}"
    );
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 10, "{files:?}");
    files
}

fn is_case(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}
