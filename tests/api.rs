//! The public interface of the library as a list, docs/api.txt, and that it is up to date: what programs may depend on
//! does not change unnoticed. It reads the tokens of the sources; what macros expand to is not in the list, but for the
//! derived traits.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is how it fails"
)]

mod api {
    pub(crate) mod items;
    pub(crate) mod listing;
    pub(crate) mod modules;
    pub(crate) mod render;
}
#[path = "layers/tokens.rs"]
mod tokens;

use api::listing::list;
use api::modules::Sources;
use std::fs;
use std::path::{Path, PathBuf};

const HINT: &str = "A line that is gone or changed breaks programs: see \"What a version promises\" in CONTRIBUTING.md.\n\
    If the change is meant: LGSS_WRITE_PAGES=1 cargo test --test api";

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(below: &Path, sources: &mut Sources) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(place("src")).unwrap().to_str().unwrap().to_owned();
            sources.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_public_interface_is_the_one_that_the_list_has() {
    let mut sources = Sources::new();
    read(&place("src"), &mut sources);
    let found = list(&sources);
    if std::env::var_os("LGSS_WRITE_PAGES").is_some() {
        fs::write(place("docs/api.txt"), found.join("\n") + "\n").unwrap();
        return;
    }
    let text = fs::read_to_string(place("docs/api.txt")).unwrap_or_default();
    let listed: Vec<&str> = text.lines().collect();
    let gone = listed.iter().filter(|line| !found.iter().any(|other| other == *line));
    let new = found.iter().filter(|line| !listed.contains(&line.as_str()));
    let told: Vec<String> =
        gone.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect();
    assert!(told.is_empty(), "docs/api.txt differs from the sources:\n{}\n{HINT}", told.join("\n"));
}

fn listed(files: &[(&str, &str)]) -> Vec<String> {
    list(&files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect())
}

#[test]
fn items_are_listed_with_what_a_program_sees_of_them() {
    let lib = "
        //! pub fn text() {}
        pub mod a;
        mod hidden { pub fn unreachable() {} }
    ";
    let a = r#"
        /// A constant.
        pub const LIMIT: usize = { 3 };
        pub type Alias<T> = Vec<T>;
        pub fn f<'a, T: Into<u8> + ?Sized>(first: &'a mut [u8], second: impl Fn(u8) -> bool,) -> Option<&'a str>
        where T: Copy { if 1 < 2 { "}" } }
        #[derive(Debug, Clone)]
        pub struct Parts { pub one: u8, #[serde(default)] two: [u8; 4] }
        pub struct Tuple(pub(crate) u8, pub Vec<(u8, u8)>);
        impl Tuple { pub const N: u8 = 1; pub const fn new() -> Self { Self(0, Vec::new()) } fn private() {} pub(super) fn g() {} }
        impl<T> super::From<T> for Tuple {}
        #[derive(thiserror::Error)]
        #[non_exhaustive]
        pub enum Fault { #[error("x")] A, B(#[from] Other), C { at: u8 } }
        pub trait Way: Sized { fn go(&self) -> u8 { 1 } type Item; }
        impl Way for Option<u8> {}
        struct NotSeen;
        impl Way for NotSeen {}
    "#;
    let expected = [
        "a: #[non_exhaustive] enum Fault",
        "a: Fault::A",
        "a: Fault::B(Other)",
        "a: Fault::C { at: u8 }",
        "a: Parts::one: u8",
        "a: Tuple::1: Vec<(u8, u8)>",
        "a: Tuple::const N: u8",
        "a: Tuple::const fn new() -> Self",
        "a: Way::fn go(&self) -> u8",
        "a: Way::type Item",
        "a: const LIMIT: usize",
        "a: fn f<'a, T: Into<u8> + ?Sized>(first: &'a mut [u8], second: impl Fn(u8) -> bool) -> Option<&'a str> where T: Copy",
        "a: impl Clone for Parts",
        "a: impl Debug for Parts",
        "a: impl Display for Fault",
        "a: impl Error for Fault",
        "a: impl From<Other> for Fault",
        "a: impl Way for Option<u8>",
        "a: impl<T> From<T> for Tuple",
        "a: struct Parts { .. }",
        "a: struct Tuple { .. }",
        "a: trait Way: Sized",
        "a: type Alias<T> = Vec<T>",
        "lgss: mod a",
    ];
    assert_eq!(listed(&[("lib.rs", lib), ("a.rs", a)]), expected);
}

#[test]
fn a_re_export_is_listed_as_what_it_stands_for_and_where_programs_find_it() {
    let files = [
        ("lib.rs", "pub mod a; mod b; #[doc(hidden)] pub mod door;"),
        ("a/mod.rs", "mod c; pub use c::{Kept, deep::F as G}; pub use crate::b::E; pub use other::X;"),
        ("a/c.rs", "pub struct Kept; pub struct Left; pub mod deep { pub fn f() {} pub use self::f as F; }"),
        ("b.rs", "pub(crate) use inner::E; mod inner; impl E { pub fn of_e(self) {} }"),
        ("b/inner.rs", "pub enum E { One }"),
        ("door.rs", "pub fn door() {}"),
    ];
    let expected = [
        "a: E::One",
        "a: E::fn of_e(self)",
        "a: enum E",
        "a: fn f()",
        "a: struct Kept",
        "a: use other::X",
        "lgss: mod a",
    ];
    assert_eq!(listed(&files), expected);
}

#[test]
fn what_needs_a_feature_or_a_test_build_is_not_listed() {
    let lib = r#"
        #[cfg(feature = "upcall")] pub mod upcall;
        #[cfg(test)] pub fn test() {}
        #[cfg(not(feature = "gss"))] pub fn without() {}
        #[cfg_attr(test, allow(unused))] pub struct S;
        impl S { #[cfg(feature = "gss")] pub fn gss() {} #[doc(hidden)] pub fn hidden() {} pub fn shown() {} }
        #[cfg(feature = "tools")] impl Clone for S {}
    "#;
    assert_eq!(listed(&[("lib.rs", lib)]), ["lgss: S::fn shown()", "lgss: fn without()", "lgss: struct S"]);
}
