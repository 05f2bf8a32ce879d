//! Names of types that more than one file has.

use super::tokens::{Token, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// Keywords that define a type or a trait.
const DEFINING: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// The names that several files define at module level, each with its files; `sources` are their paths below src/ and
/// their texts. Tests are left out.
pub(crate) fn doubles(sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources.iter().filter(|(file, _)| !is_test(file)) {
        for name in defined(&tokens(text)) {
            found.entry(name).or_default().insert(file.clone());
        }
    }
    found.retain(|_, files| files.len() > 1);
    found
}

fn is_test(file: &str) -> bool {
    file.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// Names outside all braces, so without associated types and `mod tests { … }`.
fn defined(tokens: &[Token]) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        depth += i32::from(token.is("{")) - i32::from(token.is("}"));
        if depth == 0 && DEFINING.iter().any(|word| token.is(word)) {
            names.push(next.0.clone());
        }
    }
    names
}
