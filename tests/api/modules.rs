//! The modules of a crate without features, what they define, and where a path leads.

use super::items::{Item, Visibility, items, words};
use std::collections::BTreeMap;

/// Texts of the sources, by their paths below src/.
pub(crate) type Sources = BTreeMap<String, String>;

/// One module: its own items, and the names that it imports.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) items: Vec<Item>,
    pub(crate) imports: Vec<Import>,
}

/// One name of a `use`.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub(crate) visibility: Visibility,
    pub(crate) path: Vec<String>,
    pub(crate) name: String,
}

/// All modules by their paths, `` for the root, `ctx::client`.
#[derive(Debug, Default)]
pub(crate) struct Modules(pub(crate) BTreeMap<String, Module>);

impl Modules {
    /// Reads all that a build without features compiles.
    pub(crate) fn read(sources: &Sources) -> Self {
        let mut modules = Self::default();
        modules.add(sources, "", items(&words(&sources["lib.rs"])));
        modules
    }

    fn add(&mut self, sources: &Sources, path: &str, all: Vec<Item>) {
        let mut module = Module::default();
        for item in all.into_iter().filter(|item| !item.is_conditional() && !item.has("doc(hidden)")) {
            if item.kind == "mod" {
                let below = join(path, &item.name);
                let file = below.replace("::", "/");
                let text = [format!("{file}.rs"), format!("{file}/mod.rs")];
                match text.iter().find_map(|name| sources.get(name)) {
                    _ if item.words.contains(&"{".to_owned()) => {
                        self.add(sources, &below, items(item.body("{")));
                    }
                    Some(text) => self.add(sources, &below, items(&words(text))),
                    None => panic!("mod {below} has no file"),
                }
            }
            if item.kind == "use" {
                let tree = &item.words[1..item.words.len() - 1];
                names(&[], tree, &mut |path, name| {
                    module.imports.push(Import { visibility: item.visibility, path, name });
                });
            } else {
                module.items.push(item);
            }
        }
        self.0.insert(path.to_owned(), module);
    }

    /// The item that a path leads to, seen from a module, through imports.
    pub(crate) fn resolve(&self, from: &str, path: &[String]) -> Option<&Item> {
        let (name, before) = path.split_last()?;
        let mut module = from.to_owned();
        for (at, part) in before.iter().enumerate() {
            module = match part.as_str() {
                "crate" if at == 0 => String::new(),
                "self" if at == 0 => module,
                "super" => module.rsplit_once("::").map_or(String::new(), |(above, _)| above.to_owned()),
                _ => join(&module, part),
            };
        }
        let found = self.0.get(&module)?;
        let own = found.items.iter().find(|item| item.name == *name && item.kind != "impl");
        own.or_else(|| {
            let import = found.imports.iter().find(|import| import.name == *name)?;
            if (module.as_str(), import.path.as_slice()) == (from, path) {
                return None;
            }
            self.resolve(&module, &import.path)
        })
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") }
}

/// Calls `found` for each path of a `use` and the name that it gives.
fn names(before: &[String], tree: &[String], found: &mut impl FnMut(Vec<String>, String)) {
    let mut path = before.to_vec();
    let mut at = 0;
    while at < tree.len() {
        match tree[at].as_str() {
            "::" => at += 1,
            "{" => {
                let inner = &tree[at + 1..tree.len() - 1];
                return super::items::parts(inner).iter().for_each(|part| names(&path, &part.words, found));
            }
            "as" => return found(path, tree[at + 1].clone()),
            "self" if !path.is_empty() => at += 1,
            word => {
                path.push(word.to_owned());
                at += 1;
            }
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    found(path, name);
}
