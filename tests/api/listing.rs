//! The public items of a crate without features, as lines `module: item`, sorted.

use super::items::{Item, Visibility, find, group_end, items, parts};
use super::modules::{Module, Modules, Sources, join};
use super::render::render;
use std::collections::BTreeSet;

/// Lists them.
pub(crate) fn list(sources: &Sources) -> Vec<String> {
    let mut listing = Listing { modules: &Modules::read(sources), lines: BTreeSet::new() };
    listing.module("");
    listing.lines.into_iter().collect()
}

struct Listing<'a> {
    modules: &'a Modules,
    lines: BTreeSet<String>,
}

impl Listing<'_> {
    fn module(&mut self, path: &str) {
        let modules = self.modules;
        let Module { items, imports } = &modules.0[path];
        for item in items.iter().filter(|item| item.visibility == Visibility::Public) {
            match item.kind.as_str() {
                "mod" => {
                    self.line(path, format!("mod {}", item.name));
                    self.module(&join(path, &item.name));
                }
                _ => self.item(path, item, &item.name),
            }
        }
        for import in imports.iter().filter(|import| import.visibility == Visibility::Public) {
            match modules.resolve(path, &import.path) {
                Some(item) => self.item(path, item, &import.name),
                None => self.line(path, format!("use {}", import.path.join("::"))),
            }
        }
    }

    fn line(&mut self, module: &str, text: String) {
        let module = if module.is_empty() { "lgss" } else { module };
        self.lines.insert(format!("{module}: {text}"));
    }

    fn item(&mut self, module: &str, item: &Item, name: &str) {
        let mark = if item.has("non_exhaustive") { "#[non_exhaustive] " } else { "" };
        let head = |words: &[String]| format!("{mark}{}", render(words));
        match item.kind.as_str() {
            "struct" | "union" => self.structure(module, item, name),
            "enum" => {
                self.line(module, head(item.head()));
                for variant in parts(item.body("{")) {
                    let whole = without_attributes(&variant.words);
                    let mark = if variant.has("non_exhaustive") { "#[non_exhaustive] " } else { "" };
                    self.line(module, format!("{name}::{mark}{}", render(&whole)));
                    self.sources_of_errors(module, name, &variant.words);
                }
            }
            "trait" => {
                self.line(module, head(item.head()));
                for part in items(item.body("{")).iter().filter(|part| !part.has("doc(hidden)")) {
                    self.line(module, format!("{name}::{}", render(part.head())));
                }
            }
            "const" | "static" => {
                let end = find(&item.words, &["="]).unwrap_or(item.words.len());
                self.line(module, render(&item.words[..end]));
            }
            "type" => self.line(module, render(&item.words[..item.words.len() - 1])),
            _ => self.line(module, render(item.head())),
        }
        if ["struct", "union", "enum", "trait"].contains(&item.kind.as_str()) {
            self.derived(module, item, name);
            self.implemented(module, &item.name);
        }
    }

    /// `struct Name { .. }` has fields that are not public, so nobody else can make one.
    fn structure(&mut self, module: &str, item: &Item, name: &str) {
        let open = if item.words.contains(&"{".to_owned()) { "{" } else { "(" };
        let fields = parts(item.body(open));
        let hidden = fields.iter().any(|field| field.visibility == Visibility::Within);
        let end = find(&item.words, &["{", "(", ";"]).unwrap_or(item.words.len());
        let mark = if item.has("non_exhaustive") { "#[non_exhaustive] " } else { "" };
        let rest = if hidden { " { .. }" } else { "" };
        self.line(module, format!("{mark}{}{rest}", render(&item.words[..end])));
        for (place, field) in fields.iter().enumerate() {
            if field.visibility == Visibility::Public {
                let place = if open == "(" { format!("{place}: ") } else { String::new() };
                self.line(module, format!("{name}::{place}{}", render(&field.words)));
            }
        }
    }

    fn derived(&mut self, module: &str, item: &Item, name: &str) {
        for attribute in item.attributes.iter().filter(|words| words[0] == "derive") {
            for path in parts(&attribute[2..attribute.len() - 1]) {
                let derived = path.words.last().cloned().unwrap_or_default();
                self.line(module, format!("impl {derived} for {name}"));
                // thiserror's.
                if derived == "Error" {
                    self.line(module, format!("impl Display for {name}"));
                }
            }
        }
    }

    /// thiserror's `#[from]`, which makes a `From`.
    fn sources_of_errors(&mut self, module: &str, name: &str, variant: &[String]) {
        let Some(open) = find(variant, &["("]) else { return };
        for field in parts(&variant[open + 1..group_end(variant, open) - 1]) {
            if field.has("from") {
                self.line(module, format!("impl From<{}> for {name}", render(&field.words)));
            }
        }
    }

    /// Methods and trait implementations, wherever they stand. Names of types are unique (tests/layers.rs).
    fn implemented(&mut self, module: &str, name: &str) {
        let modules = self.modules;
        let all = modules.0.values().flat_map(|module| &module.items).filter(|item| item.kind == "impl");
        for block in all {
            let head = block.head();
            let (generics, rest) = after_generics(head);
            let is_for = find(rest, &["for"]);
            let (of, whom) = match is_for {
                Some(at) => (last_name(&rest[..at]), last_name(&rest[at + 1..])),
                None => (String::new(), last_name(rest)),
            };
            let ours = |wanted: &str| modules.0.values().any(|module| defines(module, wanted));
            if is_for.is_some() && (whom == name || of == name && !ours(&whom)) {
                // `fmt::Debug` or `Debug`, as it is imported.
                let path = rest.chunks(2).take_while(|words| words.get(1).is_some_and(|next| next == "::"));
                self.line(module, format!("impl{generics} {}", render(&rest[2 * path.count()..])));
            }
            if is_for.is_none() && whom == name {
                let inside = items(block.body("{"));
                let public = inside.iter().filter(|item| item.visibility == Visibility::Public);
                for item in public.filter(|item| !item.is_conditional() && !item.has("doc(hidden)")) {
                    let end = find(item.head(), &["="]).filter(|_| item.kind == "const");
                    let words = &item.head()[..end.unwrap_or(item.head().len())];
                    self.line(module, format!("{}::{}", render(rest), render(words)));
                }
            }
        }
    }
}

fn defines(module: &Module, name: &str) -> bool {
    module.items.iter().any(|item| item.name == name && item.kind != "impl")
}

/// `impl<T> Type`: `<T>` as text, and the words after it.
fn after_generics(head: &[String]) -> (String, &[String]) {
    let rest = &head[head.iter().position(|word| word == "impl").map_or(0, |at| at + 1)..];
    if rest.first().is_none_or(|word| word != "<") {
        return (String::new(), rest);
    }
    let mut depth = 0;
    for (at, word) in rest.iter().enumerate() {
        depth += i32::from(word == "<") - i32::from(word == ">");
        if depth == 0 {
            return (render(&rest[..=at]), &rest[at + 1..]);
        }
    }
    (String::new(), rest)
}

/// The last part of a type's path, without its parameters.
fn last_name(words: &[String]) -> String {
    let end = find(words, &["<", "where"]).unwrap_or(words.len());
    words[..end].last().cloned().unwrap_or_default()
}

fn without_attributes(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at] == "#" {
            at = group_end(words, at + 1);
        } else {
            kept.push(words[at].clone());
            at += 1;
        }
    }
    kept
}
