//! docs/security-tests.md: every rule of the threat model has tests, and each test it lists is in the file it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::{paths, text, write_or_expect};

const DOCUMENT: &str = "docs/security-tests.md";

/// What shows that a rule holds, by file: names of tests in backquotes, and in words what else a file checks.
type Shown = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_rule_of_the_threat_model_has_tests_and_all_of_them_exist() {
    let document = text(DOCUMENT);
    let (head, listed) = parse(&document);
    let listed_rules: Vec<&str> = listed.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(listed_rules, rules(), "rules of {DOCUMENT} and of docs/threat-model.md");
    for (rule, shown) in &listed {
        assert!(!shown.is_empty(), "{rule} has no test");
    }
    let tests = tests_by_name();
    let placed = listed.into_iter().map(|(rule, shown)| (rule, placed(&shown, &tests)));
    let current = render(head, placed);
    write_or_expect(DOCUMENT, &current);
}

/// The numbers of the rules in the threat model, which are consecutive.
pub(crate) fn rules() -> Vec<String> {
    let model = text("docs/threat-model.md");
    let headings = model.lines().filter_map(|line| line.strip_prefix("### "));
    let rules: Vec<String> = headings.map(|heading| heading.split(' ').next().unwrap().to_owned()).collect();
    let expected: Vec<String> = (1..=rules.len()).map(|number| format!("S{number}")).collect();
    assert_eq!(rules, expected);
    assert!(rules.len() >= 23, "{rules:?}");
    rules
}

/// The text before the first rule, and the list for each rule.
fn parse(document: &str) -> (&str, Vec<(&str, Shown)>) {
    let mut sections = document.split("\n## ");
    let head = sections.next().unwrap();
    let listed = sections.map(|section| {
        let (rule, body) = section.split_once('\n').unwrap();
        let (mut shown, mut file) = (Shown::new(), "");
        for line in body.lines().filter(|line| !line.is_empty()) {
            if let Some(item) = line.strip_prefix("* ") {
                shown.entry(file.to_owned()).or_default().insert(item.to_owned());
            } else {
                file = line.trim_matches('`');
            }
        }
        (rule, shown)
    });
    (head, listed.collect())
}

/// The same list with each test under the file that has it: the file named, or else the only one.
fn placed(shown: &Shown, tests: &BTreeMap<String, BTreeSet<String>>) -> Shown {
    let mut placed = Shown::new();
    for (file, items) in shown {
        for item in items {
            let file = match item.strip_prefix('`') {
                Some(name) => {
                    let files = tests.get(name.trim_end_matches('`')).into_iter().flatten();
                    let files: Vec<&String> = files.collect();
                    if files.contains(&file) {
                        file
                    } else {
                        assert_eq!(files.len(), 1, "files that have the test {item}: {files:?}");
                        files.first().copied().unwrap()
                    }
                }
                None => {
                    assert!(!text(file).is_empty());
                    file
                }
            };
            placed.entry(file.clone()).or_default().insert(item.clone());
        }
    }
    placed
}

fn render<'a>(head: &str, listed: impl Iterator<Item = (&'a str, Shown)>) -> String {
    let mut rendered = head.to_owned();
    for (rule, shown) in listed {
        rendered += &format!("\n## {rule}\n");
        for (file, items) in shown {
            let items: String = items.iter().map(|item| format!("* {item}\n")).collect();
            rendered += &format!("\n`{file}`\n\n{items}");
        }
    }
    rendered
}

/// Every test and scenario, with the files that have one with that name.
pub(crate) fn tests_by_name() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in paths(&["src", "tests"]) {
        let source = text(&path);
        for name in tests_of(&source) {
            found.entry(name.to_owned()).or_default().insert(path.clone());
        }
    }
    assert!(found.len() > 500, "{}", found.len());
    found
}

/// Functions with `#[test]` or `@scenario`, and the names in `trials!`.
fn tests_of(source: &str) -> impl Iterator<Item = &str> {
    let marked = ["#[test]\n", "@scenario\n"].into_iter().flat_map(|mark| source.split(mark).skip(1));
    let functions = marked.filter_map(|rest| {
        let signature = rest.lines().map(str::trim).find(|line| !line.starts_with(['#', '@']))?;
        let (_, named) = signature.split_once("fn ").or_else(|| signature.split_once("def "))?;
        named.split('(').next()
    });
    let trials = source.split("trials![").skip(1).flat_map(|list| list.split(']').next().unwrap().split(','));
    functions.chain(trials.map(str::trim).filter(|name| !name.is_empty()))
}
