//! The layers and what breaks their order.

use super::tokens::{Token, tokens};
use std::fmt;

/// From the bottom up; layers on one line may not import each other.
const LAYERS: [&[&str]; 18] = [
    &["sys", "text", "time", "renewal_times", "secret"],
    &["class"],
    &["event", "nid", "terminal", "system_log"],
    &["wire"],
    &["crypto", "onc_rpc"],
    &["gss", "config", "door"],
    &["key"],
    &["identity"],
    &["hook"],
    &["ctx"],
    &["security"],
    &["rpc"],
    &["creds"],
    &["negotiate"],
    &["selftest"],
    &["provider"],
    &["upcall", "worker", "cli", "sk_tool", "kinit", "agent", "kcm", "helper"],
    &[DOOR],
];
/// The programs come in through this module; exported macros name it, since they expand in the programs.
pub(crate) const DOOR: &str = "private_to_lgss";
/// Where `unsafe` may stand.
const EDGE: [&str; 2] = ["sys", "gss"];

/// An offence of a source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// Imports this layer, which is not below its own.
    Imports(String),
    /// Names something at the root of the crate that is no layer.
    UnknownLayer(String),
    /// Imports the root of the crate as a whole.
    Everything,
    /// Uses `unsafe` outside the edge.
    Unsafe,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imports(layer) => write!(f, "imports {layer}, which is not below it"),
            Self::UnknownLayer(name) => write!(f, "names crate::{name}, which is no layer"),
            Self::Everything => f.write_str("imports the crate's root"),
            Self::Unsafe => f.write_str("uses unsafe"),
        }
    }
}

/// Offences of one source; `file` is its path below src/.
pub(crate) fn check(file: &str, text: &str) -> Vec<Offence> {
    let tokens = tokens(text);
    let layer = layer_of(file);
    let mut offences = Vec::new();
    if !layer.is_some_and(|layer| EDGE.contains(&layer)) && tokens.iter().any(|token| token.is("unsafe")) {
        offences.push(Offence::Unsafe);
    }
    let Some(layer) = layer else { return offences };
    for name in names_at_the_root(&tokens, depth(file)) {
        if name == "*" {
            offences.push(Offence::Everything);
        } else if rank(&name).is_none() {
            offences.push(Offence::UnknownLayer(name));
        } else if name != layer && rank(&name) >= rank(layer) {
            offences.push(Offence::Imports(name));
        }
    }
    offences
}

/// Whether a source has the attribute `#![forbid(unsafe_code)]`.
pub(crate) fn forbids_unsafe(text: &str) -> bool {
    let words: Vec<String> = tokens(text).into_iter().map(|token| token.0).collect();
    words.windows(8).any(|window| window.concat() == "#![forbid(unsafe_code)]")
}

/// The layer of a source; none for programs and the crate's root.
pub(crate) fn layer_of(file: &str) -> Option<&str> {
    let first = file.split('/').next().unwrap_or(file);
    let name = first.strip_suffix(".rs").unwrap_or(first);
    rank(name).map(|_| name)
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|line| line.contains(&layer))
}

/// Depth of a source's module: 1 for event.rs and ctx/mod.rs, 2 for ctx/client.rs.
fn depth(file: &str) -> usize {
    let parts = file.split('/').count();
    if file.ends_with("/mod.rs") { parts - 1 } else { parts }
}

/// First path segments below the crate's root, named with `crate::` or with enough `super::`.
fn names_at_the_root(tokens: &[Token], file_depth: usize) -> Vec<String> {
    let mut names = Vec::new();
    // For each open brace, whether it opens an inline module.
    let mut braces: Vec<bool> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let inline = braces.iter().filter(|&&is_module| is_module).count();
        if tokens[i].is("{") {
            braces.push(i >= 2 && tokens[i - 2].is("mod"));
        } else if tokens[i].is("}") {
            braces.pop();
        } else if tokens[i].is("crate") && follows(tokens, i, "::") {
            let expanded_outside = i > 0 && tokens[i - 1].is("$");
            names.extend(
                segments(tokens, i + 2).into_iter().filter(|name| !(expanded_outside && name == DOOR)),
            );
        } else if tokens[i].is("super") && !(i > 0 && tokens[i - 1].is("::")) {
            let mut ups = 0;
            let mut end = i;
            while end < tokens.len() && tokens[end].is("super") && follows(tokens, end, "::") {
                ups += 1;
                end += 2;
            }
            if ups >= file_depth + inline {
                names.extend(segments(tokens, end));
            }
        }
        i += 1;
    }
    names
}

fn follows(tokens: &[Token], i: usize, word: &str) -> bool {
    tokens.get(i + 1).is_some_and(|token| token.is(word))
}

/// The name at `start`, or the first names of a group's members.
fn segments(tokens: &[Token], start: usize) -> Vec<String> {
    let Some(first) = tokens.get(start) else { return Vec::new() };
    if !first.is("{") {
        return vec![first.0.clone()];
    }
    let mut names = Vec::new();
    let mut nesting = 0;
    for (i, token) in tokens.iter().enumerate().skip(start) {
        match token.0.as_str() {
            "{" => nesting += 1,
            "}" => nesting -= 1,
            _ if nesting == 1 && (tokens[i - 1].is("{") || tokens[i - 1].is(",")) => {
                names.push(token.0.clone())
            }
            _ => {}
        }
        if nesting == 0 {
            break;
        }
    }
    names
}
