//! Tests that nothing runs: a file that no `mod` names is not compiled, and a scenario without its mark is not found.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::{paths, text};

#[test]
fn every_file_of_the_tests_is_compiled() {
    // The dependent program is copied and built by its test.
    let mut found = BTreeSet::from([PathBuf::from("tests/dependent/main.rs")]);
    let manifest: toml::Table = toml::from_str(&text("Cargo.toml")).unwrap();
    let targets = ["bin", "test"].map(|kind| manifest[kind].as_array().unwrap().clone()).concat();
    let mut new: Vec<PathBuf> =
        targets.iter().map(|target| target["path"].as_str().unwrap().into()).collect();
    let roots: BTreeSet<_> = new.iter().cloned().collect();
    let all = paths(&["tests"]).into_iter().map(PathBuf::from);
    let all: BTreeSet<_> = all.filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect();
    assert!(all.len() > 100, "{all:?}");
    while let Some(file) = new.pop() {
        if all.contains(&file) && found.insert(file.clone()) {
            let owns_its_folder = roots.contains(&file) || file.ends_with("mod.rs");
            let below =
                if owns_its_folder { file.parent().unwrap().to_owned() } else { file.with_extension("") };
            new.extend(modules(&file, &below, &text(file.to_str().unwrap())));
        }
    }
    // Nor are the programs that must not compile, which trybuild finds by their directory.
    let left: Vec<_> = all.difference(&found).filter(|file| !file.starts_with("tests/classes")).collect();
    assert!(left.is_empty(), "no `mod` names {left:?}");
}

/// Where the modules may be that this file declares, whose own are in the directory `below`. Expects what rustfmt writes: a
/// module a line.
fn modules(file: &Path, below: &Path, source: &str) -> Vec<PathBuf> {
    let (mut inline, mut path, mut named) = (PathBuf::new(), None, Vec::new());
    for line in source.lines() {
        let word = line.trim_start().trim_start_matches("pub(crate) ");
        if line == "}" {
            inline = PathBuf::new();
        } else if let Some(told) = word.strip_prefix("#[path = \"") {
            path = told.strip_suffix("\"]");
        } else if let Some(name) = word.strip_prefix("mod ") {
            if let Some(name) = name.strip_suffix(" {") {
                inline = name.into();
            } else if let Some(name) = name.strip_suffix(';') {
                let beside = below.join(&inline).join(name);
                match path.take() {
                    Some(path) => named.push(plain(&file.parent().unwrap().join(path))),
                    None => named.extend([beside.with_extension("rs"), beside.join("mod.rs")]),
                }
            }
        }
    }
    named
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, component| {
        if component == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
        plain
    })
}

#[test]
fn modules_are_found_however_they_are_declared() {
    let source = "mod a;\npub(crate) mod b;\n#[path = \"../x/c.rs\"]\n#[allow(dead_code)]\nmod c;\n\
                  mod inner {\n    pub(crate) mod d;\n}\n// mod e;\nmod f;\n";
    let found = modules(Path::new("tests/t/main.rs"), Path::new("tests/t"), source);
    let files: Vec<_> = found.iter().filter(|path| !path.ends_with("mod.rs")).collect();
    let expected = ["t/a.rs", "t/b.rs", "x/c.rs", "t/inner/d.rs", "t/f.rs"];
    assert_eq!(files, expected.map(|name| Path::new("tests").join(name)).iter().collect::<Vec<_>>());
}

#[test]
fn every_scenario_is_marked_as_one() {
    let files: Vec<_> =
        paths(&["tests/vm/scenarios"]).into_iter().filter(|path| path.ends_with(".py")).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        assert_eq!(unmarked(&text(&file)), [""; 0], "{file}: neither @scenario nor used");
    }
}

/// Functions of a `bed` alone that neither are marked nor occur outside themselves.
fn unmarked(source: &str) -> Vec<&str> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for (at, _) in source.match_indices("\ndef ") {
        let (before, rest) = source.split_at(at + 1);
        let Some((name, _)) = rest["def ".len()..].split_once("(bed):") else { continue };
        if !name.chars().all(is_word) {
            continue;
        }
        let end = rest.find("\n\n\n").unwrap_or(rest.len());
        let marks = before.rsplit("\n\n").next().unwrap();
        let is_marked = marks.lines().any(|line| line == "@scenario");
        let is_used =
            [before, &rest[end..]].iter().any(|text| text.split(|c| !is_word(c)).any(|w| w == name));
        if !is_marked && !is_used {
            found.push(name);
        }
    }
    found
}

#[test]
fn a_scenario_without_its_mark_is_found_and_a_function_that_others_call_is_not() {
    let source = "x = 1\n\n\n@scenario\ndef good(bed):\n    shared(bed)\n\n\n@big\n@scenario\ndef too(bed):\n    pass\n\n\n\
                  def shared(bed):\n    pass\n\n\ndef other(bed, n):\n    pass\n\n\ndef lost(bed):\n    lost(bed)\n";
    assert_eq!(unmarked(source), ["lost"]);
}
