//! Files that import each other in a loop.

use super::rules::DOOR;
use super::tokens::{Token, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// Which files each file imports, by their paths below src/.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// The imports of all files; `sources` are their paths below src/ and their texts. `mod tests { … }` is left out.
pub(crate) fn imports(sources: &[(String, String)]) -> Imports {
    let modules: BTreeMap<Vec<String>, String> =
        sources.iter().map(|(file, _)| (module_of(file), file.clone())).collect();
    let of = |(file, text): &(String, String)| {
        let home = module_of(file);
        let found = paths(&without_tests(tokens(text)), &home, &modules);
        let files = found.iter().filter_map(|path| file_of(path, &modules)).filter(|found| found != file);
        (file.clone(), files.collect())
    };
    sources.iter().map(of).collect()
}

/// Every set of files that can reach each other, each sorted.
pub(crate) fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|file| (file, reachable(file, imports))).collect();
    let together = |a: &String, b: &String| reach[a].contains(b) && reach[b].contains(a);
    let mut found = BTreeSet::new();
    for file in imports.keys().filter(|file| reach[file].contains(file)) {
        found.insert(imports.keys().filter(|other| together(file, other)).cloned().collect::<Vec<_>>());
    }
    found.into_iter().collect()
}

fn reachable<'a>(start: &str, imports: &'a Imports) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&String> = imports.get(start).into_iter().flatten().collect();
    while let Some(file) = waiting.pop() {
        if found.insert(file) {
            waiting.extend(imports.get(file).into_iter().flatten());
        }
    }
    found
}

/// `ctx/mod.rs` and `ctx.rs` are `[ctx]`, `ctx/client.rs` is `[ctx, client]`; a program and `lib.rs` have no module.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// The file of the innermost module that a path goes through.
fn file_of(path: &[String], modules: &BTreeMap<Vec<String>, String>) -> Option<String> {
    (1..=path.len()).rev().find_map(|length| modules.get(&path[..length]).cloned())
}

fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::new();
    let mut depth = None;
    for token in tokens {
        match depth.as_mut() {
            Some(nesting) => {
                *nesting += i32::from(token.is("{")) - i32::from(token.is("}"));
                if *nesting == 0 {
                    depth = None;
                }
            }
            None if token.is("{") && ends_with(&kept, &["mod", "tests"]) => depth = Some(1),
            None => kept.push(token),
        }
    }
    kept
}

fn ends_with(tokens: &[Token], words: &[&str]) -> bool {
    let start = tokens.len().checked_sub(words.len());
    start.is_some_and(|start| tokens[start..].iter().zip(words).all(|(token, word)| token.is(word)))
}

/// All paths from the crate's root that a file names, each member of a group separately.
fn paths(tokens: &[Token], home: &[String], modules: &BTreeMap<Vec<String>, String>) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let starts = !(at > 0 && tokens[at - 1].is("::")) && is(tokens, at + 1, "::");
        // A path by `$crate::private_to_lgss` in a macro counts where the macro is used: in a program.
        let by_the_door = at > 0 && tokens[at - 1].is("$") && is(tokens, at + 2, DOOR);
        if !starts || by_the_door {
            continue;
        }
        let mut base = home.to_vec();
        let mut next = at + 2;
        match token.0.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
                while is(tokens, next, "super") && is(tokens, next + 1, "::") {
                    base.pop();
                    next += 2;
                }
            }
            // A module in this file, or a name from elsewhere.
            name => {
                base.push(name.to_owned());
                if !modules.contains_key(&base) {
                    continue;
                }
            }
        }
        expand(tokens, next, base, &mut found);
    }
    found
}

/// Adds the paths that continue `base` at `at`; returns the position after them.
fn expand(tokens: &[Token], mut at: usize, mut base: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    loop {
        if is(tokens, at, "{") {
            at += 1;
            while at < tokens.len() && !is(tokens, at, "}") {
                at = if is(tokens, at, ",") { at + 1 } else { expand(tokens, at, base.clone(), found) };
            }
            return at + 1;
        }
        let Some(name) = tokens.get(at).filter(|token| is_name(token)) else { break };
        if !name.is("self") {
            base.push(name.0.clone());
        }
        at += 1;
        if !is(tokens, at, "::") {
            break;
        }
        at += 1;
    }
    found.push(base);
    // Skips `as name` and everything else that is no path.
    while at < tokens.len() && ![",", "}", ";"].iter().any(|end| is(tokens, at, end)) {
        at += 1;
    }
    at
}

fn is(tokens: &[Token], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.is(word))
}

fn is_name(token: &Token) -> bool {
    token.0.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
}
