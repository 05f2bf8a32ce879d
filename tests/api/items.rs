//! The items of a source: attributes, visibility, kind, name and tokens.

use crate::tokens::tokens;

/// Who sees an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// Everybody who sees its module.
    Public,
    /// Parts of this crate.
    Within,
}

/// One item, field or variant, without its attributes and visibility.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Each without `#[` and `]`.
    pub(crate) attributes: Vec<Vec<String>>,
    pub(crate) visibility: Visibility,
    /// `fn`, `struct` and so on; empty for a field, a variant and what is none of them.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
}

const KINDS: [&str; 11] =
    ["use", "mod", "struct", "enum", "union", "trait", "fn", "const", "static", "type", "impl"];
/// What may stand before `fn`, `impl` and `trait`.
const QUALIFIERS: [&str; 4] = ["const", "unsafe", "async", "extern"];

impl Item {
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|words| words.concat() == attribute)
    }

    /// Whether only a build with features, or of tests, has it.
    pub(crate) fn is_conditional(&self) -> bool {
        let begins =
            |words: &[String], with: &[&str]| words.iter().zip(with).all(|(word, with)| word == with);
        self.attributes
            .iter()
            .any(|words| begins(words, &["cfg", "("]) && !begins(words, &["cfg", "(", "not", "("]))
    }

    /// Its words before the body, without `;`.
    pub(crate) fn head(&self) -> &[String] {
        let end = find(&self.words, &["{", ";"]).unwrap_or(self.words.len());
        &self.words[..end]
    }

    /// What stands between its outermost braces, or else its parentheses.
    pub(crate) fn body(&self, open: &str) -> &[String] {
        let Some(start) = find(&self.words, &[open]) else { return &[] };
        &self.words[start + 1..group_end(&self.words, start) - 1]
    }
}

/// Words of a source; `->` and `=>` are one.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text) {
        match words.last_mut() {
            Some(last) if token.is(">") && (last == "-" || last == "=") => last.push('>'),
            _ => words.push(token.0),
        }
    }
    words
}

/// The items of a module, an `impl` or a trait.
pub(crate) fn items(words: &[String]) -> Vec<Item> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let (mut item, start) = begin(words, at);
        let rest = &words[start..];
        let kind = rest.iter().position(|word| !QUALIFIERS.contains(&word.as_str())).unwrap_or(0);
        // `const NAME`, unlike `const fn`.
        let kind = match rest.get(kind) {
            Some(word) if KINDS.contains(&word.as_str()) => kind,
            _ => 0,
        };
        item.kind = rest.get(kind).filter(|word| KINDS.contains(&word.as_str())).cloned().unwrap_or_default();
        item.name = rest.get(kind + 1).cloned().unwrap_or_default();
        at = start + end(rest, &item.kind).max(1);
        item.words = words[start..at.min(words.len())].to_vec();
        found.push(item);
    }
    found
}

/// Fields or variants: what commas separate.
pub(crate) fn parts(words: &[String]) -> Vec<Item> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let (mut item, start) = begin(words, at);
        let end = find(&words[start..], &[","]).map_or(words.len(), |end| start + end);
        item.words = words[start..end].to_vec();
        item.name = item.words.first().cloned().unwrap_or_default();
        found.push(item);
        at = end + 1;
    }
    found
}

/// Reads attributes and visibility, and returns where the item itself begins.
fn begin(words: &[String], mut at: usize) -> (Item, usize) {
    let mut attributes = Vec::new();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|found| found == word);
    while is(at, "#") {
        let open = at + 1 + usize::from(is(at + 1, "!"));
        let end = group_end(words, open);
        attributes.push(words[open + 1..end - 1].to_vec());
        at = end;
    }
    let mut visibility = Visibility::Within;
    if is(at, "pub") {
        at += 1;
        let inside = |word| is(at, "(") && is(at + 1, word);
        if ["crate", "super", "in", "self"].into_iter().any(inside) {
            at = group_end(words, at);
        } else {
            visibility = Visibility::Public;
        }
    }
    (Item { attributes, visibility, kind: String::new(), name: String::new(), words: Vec::new() }, at)
}

/// Where an item ends: after its `;` or, if it is of a kind that may have one, its body.
fn end(words: &[String], kind: &str) -> usize {
    let ends: &[&str] = match kind {
        "use" | "const" | "static" | "type" => &[";"],
        _ => &[";", "{"],
    };
    match find(words, ends) {
        Some(at) if words[at] == "{" => group_end(words, at),
        Some(at) => at + 1,
        None => words.len(),
    }
}

/// The first of these words that is in no brackets.
pub(crate) fn find(words: &[String], wanted: &[&str]) -> Option<usize> {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate() {
        if depth == 0 && wanted.contains(&word.as_str()) {
            return Some(at);
        }
        match word.as_str() {
            "(" | "[" | "{" | "<" => depth += 1,
            ")" | "]" | "}" | ">" => depth -= 1,
            _ => {}
        }
    }
    None
}

/// After the bracket that closes the one here. Comparisons may stand within: angle brackets do not count.
pub(crate) fn group_end(words: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate().skip(open) {
        match word.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    words.len()
}
