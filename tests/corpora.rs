//! The corpora of the fuzz targets, and the inputs that once failed, as tests that need no fuzzer: each input must pass
//! the checks of its target. Also that targets, their corpora and docs/fuzzing.md agree.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is how it fails"
)]

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "public for the fuzz targets")]
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use targets::{TARGETS, check};

/// Most bytes of all corpora together.
const CORPORA_LIMIT: usize = 1024 * 1024;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(place(name)).unwrap()
}

/// Names in a directory, sorted, without their extensions.
fn names(directory: &str) -> Vec<String> {
    let stem = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> =
        fs::read_dir(place(directory)).unwrap().map(|entry| stem(entry.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn every_input_of_the_corpora_passes_the_checks_of_its_target() {
    let mut bytes = 0;
    for (target, checks) in TARGETS {
        let mut chosen = vec![0; checks.len()];
        for entry in fs::read_dir(place(&format!("fuzz/corpus/{target}"))).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            bytes += input.len();
            chosen[input.first().map_or(0, |&choice| usize::from(choice) % checks.len())] += 1;
            check(target, &input);
        }
        assert!(chosen.iter().all(|&inputs| inputs > 0), "{target} has checks without an input: {chosen:?}");
    }
    assert!(bytes < CORPORA_LIMIT, "the corpora have {bytes} bytes; scripts/fuzz --minimise");
}

#[test]
fn every_input_that_once_failed_passes_the_checks_of_its_target() {
    let document = text("docs/fuzzing.md");
    let directories = names("fuzz/regressions");
    assert!(!directories.is_empty());
    for target in directories {
        assert!(
            TARGETS.iter().any(|(name, _)| *name == target),
            "fuzz/regressions/{target}: there is no such target"
        );
        let inputs = names(&format!("fuzz/regressions/{target}"));
        assert!(!inputs.is_empty(), "fuzz/regressions/{target} is empty");
        for input in inputs {
            assert!(document.contains(&format!("| `{target}/{input}` |")), "docs/fuzzing.md lacks {input}");
            check(&target, &fs::read(place(&format!("fuzz/regressions/{target}/{input}"))).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_place_in_the_document() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
    let manifest = text("fuzz/Cargo.toml");
    let programs = manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    assert_eq!(programs.skip(1).collect::<Vec<_>>(), targets);
    let document = text("docs/fuzzing.md");
    for target in targets {
        assert!(document.contains(&format!("| `{target}` |")), "docs/fuzzing.md lacks {target}");
    }
}

#[test]
fn the_document_says_for_how_long_each_target_has_run() {
    const BEGIN: &str = "<!-- by tests/corpora.rs -->\n";
    let mut done: BTreeMap<String, (f64, u64)> = BTreeMap::new();
    for line in text("fuzz/hours.tsv").lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, target, seconds, executions] = fields[..] else { panic!("{line}") };
        let sum = done.entry(target.to_owned()).or_default();
        *sum = (sum.0 + seconds.parse::<f64>().unwrap(), sum.1 + executions.parse::<u64>().unwrap());
    }
    let mut table = "| target | processor minutes | executions, in millions |\n|---|---:|---:|\n".to_owned();
    let (mut minutes, mut all) = (0.0, 0);
    for (target, _) in TARGETS {
        let (seconds, executions) = done.remove(target).unwrap_or_default();
        (minutes, all) = (minutes + seconds / 60.0, all + executions);
        table.push_str(&row(&format!("`{target}`"), seconds / 60.0, executions));
    }
    table.push_str(&row("all", minutes, all));
    assert!(done.is_empty(), "no such targets: {done:?}");
    let document = text("docs/fuzzing.md");
    let (head, rest) = document.split_once(BEGIN).unwrap();
    let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
    if std::env::var_os("LGSS_WRITE_PAGES").is_some() {
        fs::write(place("docs/fuzzing.md"), format!("{head}{BEGIN}{table}{}", &rest[end..])).unwrap();
        return;
    }
    let hint = "LGSS_WRITE_PAGES=1 cargo test --features test-programs --test corpora";
    assert_eq!(&rest[..end], table, "fuzz/hours.tsv says otherwise: {hint}");
}

fn row(name: &str, minutes: f64, executions: u64) -> String {
    format!("| {name} | {minutes:.1} | {}.{} |\n", executions / 1_000_000, executions % 1_000_000 / 100_000)
}
