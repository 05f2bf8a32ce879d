//! Texts that must match the code: example settings, rule, manual pages.
#![expect(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

mod texts {
    mod classes;
    mod dependencies;
    mod holes;
    mod listed;
    mod security_tests;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use lgss::private_to_lgss::config::Config;
use lgss::private_to_lgss::event::Cause;

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Writes a page that is made from something else, if that is asked for; otherwise it must be up to date.
fn write_or_expect(name: &str, current: &str) {
    if std::env::var_os("LGSS_WRITE_PAGES").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), current).unwrap();
    } else {
        let hint = "run LGSS_WRITE_PAGES=1 cargo test --features test-programs --test texts";
        assert!(text(name) == current, "{name}: {hint}");
    }
}

/// The example with every default uncommented: lines `#name = value`.
fn uncommented() -> String {
    let is_setting = |line: &str| line.contains(" = ") && line.starts_with(|c: char| c.is_ascii_lowercase());
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(setting) if is_setting(setting) => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    text("etc/lgss.toml").lines().map(uncomment).collect()
}

#[test]
fn the_example_settings_show_every_setting_with_its_default() {
    assert_eq!(toml::from_str::<Config>(&text("etc/lgss.toml")).unwrap(), Config::default());
    assert_eq!(toml::from_str::<Config>(&uncommented()).unwrap(), Config::default());
    let mut settings: toml::Table = toml::from_str(&uncommented()).unwrap();
    // Settings in a table of a file system or a namespace have no defaults, so the example only mentions them.
    let file_system: toml::Table = toml::from_str(FILE_SYSTEM).unwrap();
    settings.insert("file_system".to_owned(), file_system.into());
    toml::from_str::<Config>(&format!("[file_system.x]\n{FILE_SYSTEM}")).unwrap();
    let namespace: toml::Table = toml::from_str(NAMESPACE).unwrap();
    settings.insert("namespace".to_owned(), namespace.into());
    toml::from_str::<Config>(&format!("[namespace.x]\n{NAMESPACE}")).unwrap();
    let (page, code) = (text("man/lgss.toml.5"), settings_in_code());
    let tables = settings.values().filter_map(toml::Value::as_table);
    for name in settings
        .iter()
        .filter(|(_, value)| !value.is_table())
        .map(|(name, _)| name)
        .chain(tables.flat_map(|table| table.keys()))
    {
        assert!(page.contains(&format!(".It Li {name}\n")), "lgss.toml(5) lacks {name}");
        // The page could lack a setting that the example lacks, so the code decides.
        assert!(code.contains(name), "no setting {name}");
    }
    let in_example: usize =
        settings.values().map(|value| 1 + value.as_table().map_or(0, toml::Table::len)).sum();
    assert_eq!(in_example, code.len(), "settings in the example and in src/config: {code:?}");
}

/// Every setting of a file system's table.
const FILE_SYSTEM: &str = "realm = \"R\"\nkeytab = \"/k\"\nprincipal = \"p\"\n";

/// Every setting of a namespace's table.
const NAMESPACE: &str = "owner = 1000\ncgroup = \"/c\"\nkrb5_config = \"/krb5.conf\"\nkeytab = \"/k\"\nrealm = \"R\"\n\
                         principal = \"p\"\n";

/// Names of all fields in src/config that the file may set.
fn settings_in_code() -> Vec<String> {
    let code = all_sources(&["src/config"]);
    let settings = code.split("deny_unknown_fields)]\npub struct ").skip(1);
    let bodies = settings.map(|part| part.split("\n}").next().unwrap());
    let fields = bodies.flat_map(|body| body.split("\n    pub ").skip(1));
    fields.map(|field| field.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn the_rule_passes_the_ten_words_that_the_upcall_takes() {
    let rule = text("request-key.d/lgss.conf");
    let line = rule.lines().find(|line| line.starts_with("create")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let expected = "create user lgss:* * /usr/sbin/lgss_keyring %o %k %t %d %c %u %g %T %P %S";
    assert_eq!(words.join(" "), expected);
    assert!(text("man/lgss_keyring.8").contains(expected));
}

#[test]
fn lustres_rule_is_in_the_example_unchanged() {
    let expected = "create lgssc * * /usr/sbin/lgss_keyring %o %k %t %d %c %u %g %T %P %S";
    let example = text("request-key.d/lgssc.conf");
    let lines: Vec<&str> = example.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, [expected]);
    for page in ["man/lgss_keyring.8", "docs/differences.md", "docs/parity.md"] {
        assert!(text(page).contains(expected), "{page} lacks Lustre's rule");
    }
}

#[test]
fn the_manual_page_has_every_option_and_exit_status_of_the_help() {
    let page = text("man/lgss.1");
    for command in ["get", "show", "list", "flush", "config show", "config check", "hook run", "completion"] {
        let words = command.split(' ').chain(["--help"]);
        let output = Command::new(env!("CARGO_BIN_EXE_lgss")).args(words).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && help.contains(&format!("Usage: lgss {command}")), "{help}");
        assert!(
            help.contains(&format!("Example:\n  lgss {command}"))
                || help.contains(&format!("Examples:\n  lgss {command}")),
            "{help}"
        );
        assert!(page.contains(&format!(".Ss lgss {command}\n")), "lgss(1) lacks {command}");
        for option in help.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
            let name = option.trim_end_matches([',', '.', ';']);
            assert!(name == "help" || page.contains(&format!("Fl -{name}")), "lgss(1) lacks --{name}");
        }
    }
    let statuses = lgss::private_to_lgss::cli::TABLE.lines().skip(1);
    let flat = page.replace(".Cm ", "").replace(" :\n", ": ").replace('\n', " ");
    for line in statuses {
        let (number, meaning) = line.trim().split_once("  ").unwrap();
        assert!(flat.contains(&format!(".It {number} ")), "lgss(1) lacks exit status {number}");
        for part in meaning.split("; ") {
            let said = part.split_once(": ").map_or(part, |(_, said)| said);
            assert!(flat.to_lowercase().contains(&said.to_lowercase()), "lgss(1) lacks: {said}");
        }
    }
}

#[test]
fn every_error_that_a_failure_can_have_is_in_the_upcalls_manual_page() {
    let events = text("src/event/cause.rs");
    let errnos = events.split("pub fn errno").nth(1).unwrap().split("pub fn remedy").next().unwrap();
    let page = text("man/lgss_keyring.8");
    let names: Vec<&str> =
        errnos.split("Errno::").skip(1).map(|rest| rest.split([',', '\n']).next().unwrap()).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(page.contains(&format!(".It Er {name}\n")), "lgss_keyring(8) lacks {name}");
        assert!(text("docs/formats.md").contains(&format!("\n| {name} | ")), "docs/formats.md lacks {name}");
    }
}

#[test]
fn every_cause_is_in_the_formats_with_its_word_and_errno() {
    let events = text("src/event/cause.rs");
    let causes = events.split("pub enum Cause {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let names = causes.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','));
    let mut rows = BTreeMap::<String, BTreeSet<String>>::new();
    for name in names {
        let word = snake_case(name);
        let cause: Cause = serde_json::from_str(&format!("\"{word}\"")).unwrap();
        rows.entry(format!("{:?}", cause.errno())).or_default().insert(word);
    }
    assert!(rows.len() > 8, "{rows:?}");
    let formats = text("docs/formats.md");
    for (errno, words) in rows {
        let row = formats.lines().find(|line| line.starts_with(&format!("| {errno} | "))).unwrap();
        let told = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let told: BTreeSet<_> = told.split(", ").map(|word| word.trim_matches('`').to_owned()).collect();
        assert_eq!(told, words, "{errno}");
    }
}

fn snake_case(name: &str) -> String {
    let parts = name.chars().enumerate().map(|(at, letter)| match letter.is_ascii_uppercase() && at > 0 {
        true => format!("_{}", letter.to_ascii_lowercase()),
        false => letter.to_ascii_lowercase().to_string(),
    });
    parts.collect()
}

/// All sources below the directories, Rust and Python, as one text.
fn all_sources(below: &[&str]) -> String {
    paths(below).iter().map(|path| text(path)).collect()
}

/// Paths of those sources, relative to the checkout.
fn paths(below: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for directory in below {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                found.extend(paths(&[&path]));
            } else if path.ends_with(".rs") || path.ends_with(".py") {
                found.push(path);
            }
        }
    }
    found
}

/// The names that no test or scenario has.
fn missing_tests<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let sources = all_sources(&["src", "tests"]);
    let exists =
        |name: &str| ["fn", "def"].iter().any(|keyword| sources.contains(&format!("{keyword} {name}(")));
    names.iter().copied().filter(|name| !exists(name)).collect()
}

/// The parts in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_of_the_comparison_with_lustres_tool_has_a_test_that_exists_or_says_that_there_is_none() {
    let parity = text("docs/parity.md");
    let rows = parity.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| shown by |"));
    let shown_by = rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        cells[2]
    });
    let shown_by: Vec<&str> = shown_by.collect();
    let names: Vec<&str> = shown_by.iter().flat_map(|cell| quoted(cell)).collect();
    assert!(names.len() > 40, "{names:?}");
    assert!(shown_by.iter().all(|cell| cell.contains('`') || *cell == "—"), "{shown_by:?}");
    let missing = missing_tests(&names);
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn documents_that_messages_and_pages_refer_to_are_there_to_be_installed() {
    let mut texts = all_sources(&["src"]);
    for page in ["man/lgss.1", "man/lgss_keyring.8", "man/lgss_negotiate.8", "man/lgss.toml.5"] {
        texts += &text(page);
    }
    let named: Vec<&str> = texts.split("share/doc/lgss/").skip(1).collect();
    assert!(named.len() > 2, "{}", named.len());
    for rest in named {
        let end = rest.find(".md").unwrap_or(0);
        assert!(!text(&format!("docs/{}.md", &rest[..end])).is_empty());
    }
    // Users without the sources find them, too.
    assert!(!texts.contains("(formats: docs/") && !texts.contains("see docs/"));
    assert!(text("scripts/install").contains("share/doc/lgss"));
}

#[test]
fn a_symptom_leads_to_a_command_for_every_error_of_an_upcall() {
    let (page, formats) = (text("docs/troubleshooting.md"), text("docs/formats.md"));
    let errors = formats.split("## Errors").nth(1).unwrap().split("## ").next().unwrap();
    let errnos: Vec<_> = errors.split("\n| E").skip(1).map(|row| row.split(' ').next().unwrap()).collect();
    assert!(errnos.len() >= 8, "{errnos:?}");
    for errno in errnos {
        // A key that its user revoked is no trouble.
        let elsewhere = errno == "KEYREVOKED";
        assert!(
            elsewhere || page.contains(&format!("E{errno}")),
            "E{errno} is not in docs/troubleshooting.md"
        );
    }
}
