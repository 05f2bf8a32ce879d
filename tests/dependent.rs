//! The library as a dependency: a program in a separate directory, which names nothing but `lgss`, builds without
//! libclang and without MIT Kerberos. Only crates fetched for this package are used; nothing is downloaded.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const MANIFEST: &str = "\
[package]
name = \"dependent\"
version = \"0.0.0\"
edition = \"2024\"

[dependencies]
lgss = { path = \"LGSS\" }

[workspace]
";

#[test]
fn a_program_that_depends_on_it_builds_without_libclang_and_kerberos() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(here.join("src")).unwrap();
    fs::write(here.join("Cargo.toml"), MANIFEST.replace("LGSS", ours.to_str().unwrap())).unwrap();
    fs::copy(ours.join("Cargo.lock"), here.join("Cargo.lock")).unwrap();
    fs::copy(ours.join("tests/dependent/main.rs"), here.join("src/main.rs")).unwrap();
    fs::create_dir(here.join("src/bin")).unwrap();
    fs::write(here.join("src/bin/readme.rs"), readmes_program(ours)).unwrap();

    succeed(cargo(here, &["build", "--offline", "--quiet"]));
    let built_of =
        succeed(cargo(here, &["tree", "--offline", "--prefix", "none", "--edges", "normal,build"]));
    for heavy in ["bindgen", "clang-sys", "clap", "seccompiler", "syslog", "toml"] {
        let named = built_of.lines().any(|line| line.split(' ').next() == Some(heavy));
        assert!(!named, "{heavy} is among\n{built_of}");
    }
    let program = here.join("target/debug/dependent");
    let linked = succeed(Command::new("ldd").arg(&program).output().expect("ldd"));
    assert!(linked.contains("libc.so") && !linked.contains("krb5"), "{linked}");
    let description = succeed(Command::new(&program).arg("--describe").output().unwrap());
    assert!(description.ends_with(":nfs@srv.example.test\n"), "{description}");
}

/// The program in README.md.
fn readmes_program(ours: &Path) -> String {
    let text = fs::read_to_string(ours.join("README.md")).unwrap();
    let (_, program) = text.split_once("```rust\n").expect("a program");
    program.split_once("```").unwrap().0.to_owned()
}

/// The cargo of the toolchain that builds this test.
fn cargo(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(directory).env("CARGO_TARGET_DIR", directory.join("target"));
    command.env_remove("CARGO_BUILD_TARGET").env_remove("RUSTFLAGS");
    // As if libclang were not installed.
    command.env("LIBCLANG_PATH", "/nonexistent");
    command.output().expect("cargo")
}

#[track_caller]
fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
