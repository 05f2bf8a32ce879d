//! The architecture as a test: imports go down only, `unsafe` stays at the edge (docs/architecture.md, "The folders"),
//! and no two files define types with one name. And how long a file may be (CONTRIBUTING.md).
//!
//! It reads the tokens of the sources, so comments and strings do not count. It would miss an import by a macro; there
//! is none here.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "in a test a panic is how it fails")]

mod layers {
    pub(crate) mod circles;
    pub(crate) mod names;
    pub(crate) mod rules;
    pub(crate) mod tokens;
}

use layers::circles::{circles, imports};
use layers::names::doubles;
use layers::rules::{Offence, check, forbids_unsafe, layer_of};
use std::fs;
use std::path::{Path, PathBuf};

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_go_down_only_and_unsafe_stays_at_the_edge() {
    let mut files = Vec::new();
    sources(&source_root(), &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut offences = Vec::new();
    for file in files {
        let name = file.strip_prefix(source_root()).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        offences.extend(check(&name, &text).into_iter().map(|offence| format!("src/{name}: {offence}")));
    }
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn files_do_not_import_each_other_in_a_loop() {
    let mut files = Vec::new();
    sources(&source_root(), &mut files);
    let named = |file: &PathBuf| file.strip_prefix(source_root()).unwrap().to_str().unwrap().to_owned();
    let read = |file: &PathBuf| (named(file), fs::read_to_string(file).unwrap());
    let imports = imports(&files.iter().map(read).collect::<Vec<_>>());
    assert!(imports["upcall/front.rs"].contains("upcall/authorise.rs"), "{:?}", imports["upcall/front.rs"]);
    let mut told = String::new();
    for circle in circles(&imports) {
        told.push_str("\na loop:\n");
        for file in &circle {
            let within: Vec<_> = imports[file].iter().filter(|other| circle.contains(other)).collect();
            told.push_str(&format!("  src/{file} imports {within:?}\n"));
        }
    }
    assert!(told.is_empty(), "{told}");
}

#[test]
fn every_type_has_a_name_of_its_own() {
    let mut files = Vec::new();
    sources(&source_root(), &mut files);
    let named = |file: &PathBuf| file.strip_prefix(source_root()).unwrap().to_str().unwrap().to_owned();
    let read: Vec<_> = files.iter().map(|file| (named(file), fs::read_to_string(file).unwrap())).collect();
    let lines: Vec<_> =
        doubles(&read).into_iter().map(|(name, files)| format!("{name}: {files:?}")).collect();
    assert!(lines.is_empty(), "names that several files define:\n{}\n", lines.join("\n"));
}

#[test]
fn every_layer_but_the_edge_forbids_unsafe() {
    let mut missing = Vec::new();
    for entry in fs::read_dir(source_root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if ["bin", "lib.rs", "sys", "gss"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() && path.with_extension("rs").exists() {
            continue;
        }
        let head = if path.is_dir() { path.join("mod.rs") } else { path };
        if !forbids_unsafe(&fs::read_to_string(head).unwrap()) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "without #![forbid(unsafe_code)]: {missing:?}");
}

/// The most lines of a file.
const LINES: usize = 400;

#[test]
fn no_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src", "tests", "liblgss/src", "liblgss/tests"] {
        sources(&root.join(directory), &mut files);
    }
    assert!(files.len() > 200, "the sources were not found");
    let lines = |file: &Path| fs::read_to_string(file).unwrap().lines().count();
    let long = files.iter().map(|file| (file, lines(file))).filter(|&(_, lines)| lines > LINES);
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "over {LINES} lines: {long:?}");
}

#[test]
fn an_upward_or_sideways_import_is_found_however_it_is_written() {
    let up = |layer: &str| vec![Offence::Imports(layer.to_owned())];
    for (file, text, layer) in [
        ("sys/proc.rs", "use crate::key::KeySerial;", "key"),
        ("sys/proc.rs", "fn f() -> crate::key::KeySerial { g() }", "key"),
        ("ctx/request.rs", "use crate::{wire::Reader, creds::open};", "creds"),
        ("ctx/request.rs", "use crate::{\n    wire::{Reader, Writer},\n    negotiate,\n};", "negotiate"),
        ("ctx/request.rs", "pub use crate :: creds as c;", "creds"),
        ("upcall/front.rs", "use crate::worker::drive;", "worker"),
        ("worker/mod.rs", "use crate::cli::run;", "cli"),
        ("cli/mod.rs", "use crate::upcall::outcome;", "upcall"),
        ("event.rs", "use super::key::KeySerial;", "key"),
        ("event.rs", "use crate::config::Config;", "config"),
        ("ctx/mod.rs", "use super::{wire, creds::open};", "creds"),
        ("ctx/payload/user.rs", "use super::super::super::creds;", "creds"),
        ("event.rs", "mod tests { use super::super::key; }", "key"),
        ("key/mod.rs", "mod tests { use super::*; } use super::ctx;", "ctx"),
    ] {
        assert_eq!(check(file, text), up(layer), "{file}: {text}");
    }
    assert_eq!(check("key/mod.rs", "use crate::oddity::X;"), [Offence::UnknownLayer("oddity".to_owned())]);
    assert_eq!(check("key/mod.rs", "use crate::*;"), [Offence::Everything]);
    let door = [Offence::Imports("private_to_lgss".to_owned())];
    assert_eq!(check("upcall/front.rs", "use crate::private_to_lgss::sys;"), door);
    assert_eq!(check("sys/entry.rs", "macro_rules! m { () => { $crate::private_to_lgss::end() } }"), []);
    assert_eq!(check("sys/entry.rs", "macro_rules! m { () => { $crate::key::f() } }"), up("key"));
}

#[test]
fn a_loop_is_found_through_any_number_of_files_and_however_it_is_written() {
    let of = |sources: &[(&str, &str)]| {
        let owned: Vec<_> = sources.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect();
        circles(&imports(&owned))
    };
    for (a, b) in [
        ("use super::b::B;", "use super::a::A;"),
        ("use crate::x::b;", "fn f() { crate::x::a::g() }"),
        ("use crate::{y, x::{b::{self, B}, c}};", "use super::{c, a::A};"),
        ("use super::b as other;", "type T = super::a::A;"),
    ] {
        assert_eq!(of(&[("x/a.rs", a), ("x/b.rs", b)]), [["x/a.rs", "x/b.rs"]], "{a} {b}");
    }
    let face = [("x/mod.rs", "mod a; pub use a::A; pub struct B;"), ("x/a.rs", "use super::B;")];
    assert_eq!(of(&face), [["x/a.rs", "x/mod.rs"]]);
    let three = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::A;")];
    assert_eq!(of(&three), [["a.rs", "b.rs", "c.rs"]]);
    let none = [("x/mod.rs", "mod a; mod b; pub use a::A;"), ("x/a.rs", "use super::b::B;"), ("x/b.rs", "")];
    assert!(of(&none).is_empty());
    let in_tests = [("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)] mod tests { use crate::a::A; }")];
    assert!(of(&in_tests).is_empty());
}

#[test]
fn a_name_that_two_files_define_is_found_and_nothing_else() {
    let of = |b: &str, text: &str| {
        let a = ("a.rs".to_owned(), "pub(crate) struct Held<'a>(&'a str); mod m {}".to_owned());
        doubles(&[a, (b.to_owned(), text.to_owned())]).into_keys().collect::<Vec<_>>()
    };
    for text in
        ["enum Held {}", "pub type Held = u8;", "unsafe trait Held {}", "fn f() {} union Held { a: u8 }"]
    {
        assert_eq!(of("b.rs", text), ["Held"], "{text}");
    }
    for text in [
        "struct Holder;",
        "impl Iterator for Other { type Held = u8; }",
        "mod tests { struct Held; }",
        "// struct Held;\nfn f() { struct Held; }",
        "const S: &str = \"struct Held;\"; use super::Held;",
    ] {
        assert_eq!(of("b.rs", text), [""; 0], "{text}");
    }
    assert_eq!(of("b/tests.rs", "struct Held;"), [""; 0]);
    assert_eq!(of("b/tests/c.rs", "struct Held;"), [""; 0]);
}

#[test]
fn what_is_allowed_is_not_an_offence() {
    for (file, text) in [
        ("cli/get.rs", "use crate::ctx::client; use crate::{event, key::KeySerial, sys::{proc, files}};"),
        (
            "ctx/payload/user.rs",
            "use super::super::{Context, Handle}; use crate::ctx::X; pub(crate) fn f() {}",
        ),
        (
            "sys/mod.rs",
            "// use crate::key::X;\n/* use crate::key; /* nested */ crate::key */ const S: &str = \"crate::key::X\";",
        ),
        (
            "sys/mod.rs",
            "const S: &str = r#\"use crate::key;\" \"#; fn f<'a>(c: &'a char) -> bool { *c == '\"' && *c != '\\'' }",
        ),
        ("event.rs", "mod tests { use super::*; fn f() { if a { super::g() } } }"),
        ("bin/lgss.rs", "use lgss::cli; fn main() {}"),
        ("lib.rs", "pub mod cli; pub mod sys;"),
        ("gss/mod.rs", "unsafe extern \"C\" {} use crate::crypto::mic;"),
        ("key/mod.rs", "#![forbid(unsafe_code)] // unsafe { }"),
    ] {
        assert_eq!(check(file, text), [], "{file}: {text}");
    }
}

#[test]
fn unsafe_outside_the_edge_is_found() {
    for file in ["key/mod.rs", "bin/lgss.rs", "lib.rs", "upcall/launcher.rs"] {
        assert_eq!(check(file, "fn f() { unsafe { g() } }"), [Offence::Unsafe], "{file}");
    }
    assert!(!forbids_unsafe("// #![forbid(unsafe_code)]\nfn f() {}"));
    assert!(!forbids_unsafe("#![deny(unsafe_code)]"));
    assert!(forbids_unsafe("//! Text.\n#![forbid(unsafe_code)]\n"));
    assert_eq!(layer_of("bin/lgss.rs"), None);
}
