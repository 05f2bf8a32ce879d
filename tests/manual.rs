//! The generated parts of the manual pages match the flag records in src/cli/programs.rs, src/sk_tool/arguments.rs and
//! src/kinit/arguments.rs.
//!
//! They stand between `.\" generated: WHAT COMMAND` and `.\" end` in man/. After a change of a flag,
//! `LGSS_WRITE_PAGES=1 cargo test --features test-programs --test manual` rewrites them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is how it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use lgss::private_to_lgss::cli::programs;
use lgss::private_to_lgss::kinit;
use lgss::private_to_lgss::sk_tool;

type Record = fn() -> Command;

const PAGES: [(&str, Record); 6] = [
    ("lgss.1", programs::lgss),
    ("lgss_kinit.1", kinit::record),
    ("lgss_agent.8", programs::lgss_agent),
    ("lgss_keyring.8", programs::lgss_keyring),
    ("lgss_negotiate.8", programs::lgss_negotiate),
    ("lgss_sk.8", sk_tool::record),
];
const BEGIN: &str = ".\\\" generated: ";
const END: &str = ".\\\" end\n";

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name)
}

#[test]
fn the_pages_have_the_synopsis_and_the_options_of_the_records() {
    for (name, record) in PAGES {
        let text = fs::read_to_string(page(name)).unwrap();
        let new = regenerated(&text, &record());
        if std::env::var_os("LGSS_WRITE_PAGES").is_some() {
            fs::write(page(name), new).unwrap();
        } else {
            assert!(
                text == new,
                "man/{name} lags behind src/cli: run LGSS_WRITE_PAGES=1 cargo test --features test-programs --test manual"
            );
        }
    }
}

#[test]
fn every_command_has_its_options_in_a_page() {
    for (name, record) in PAGES {
        let text = fs::read_to_string(page(name)).unwrap();
        assert!(text.contains(&format!("{BEGIN}synopsis {}\n", record().get_name())), "{name}");
        for (path, command) in leaves(record()) {
            if shown(&command).next().is_some() {
                assert!(
                    text.contains(&format!("{BEGIN}options {path}\n")),
                    "{name} lacks the options of {path}"
                );
            }
            for long in shown(&command).filter_map(Arg::get_long) {
                assert!(text.contains(&format!("Fl -{long}")), "{name} lacks --{long}");
            }
        }
    }
}

/// The upcall does not use the record, so the two could differ.
#[test]
fn the_record_of_the_upcall_has_the_options_that_it_reads() {
    let source = include_str!("../src/upcall/invocation.rs");
    let code = source.split("#[cfg(test)]").next().unwrap();
    let read: BTreeSet<&str> =
        code.split("b\"-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let record = programs::lgss_keyring();
    let recorded: BTreeSet<String> = record
        .get_arguments()
        .flat_map(|arg| {
            let short = arg.get_short().map(String::from);
            short.into_iter().chain(arg.get_long().map(|long| format!("-{long}")))
        })
        .collect();
    assert_eq!(read, recorded.iter().map(String::as_str).collect(), "without the first dash");
    let words = record.get_positionals().map(value);
    let documented = "create KEY TYPE DESCRIPTION CALLOUT UID GID";
    assert!(words.collect::<Vec<_>>().join(" ").starts_with(documented) && source.contains(documented));
    assert!(!source.contains("clap"), "the upcall is to be small");
}

/// As for the upcall.
#[test]
fn the_record_of_the_agent_has_the_options_that_it_reads() {
    let source = include_str!("../src/agent/arguments.rs");
    let code = source.split("#[cfg(test)]").next().unwrap();
    let read: BTreeSet<&str> =
        code.split("Some(\"--").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let record = programs::lgss_agent();
    let recorded = record.get_arguments().filter_map(Arg::get_long);
    assert_eq!(read, recorded.chain(["help", "version"]).collect());
}

fn regenerated(text: &str, record: &Command) -> String {
    let mut new = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (what, after) = after.split_once('\n').unwrap();
        let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("{what}: no end"));
        let (kind, path) = what.split_once(' ').unwrap();
        let generated = match kind {
            "synopsis" => leaves(record.clone()).iter().map(|(_, command)| synopsis(command)).collect(),
            "options" => {
                let (_, command) = leaves(record.clone())
                    .into_iter()
                    .find(|(name, _)| name == path)
                    .unwrap_or_else(|| panic!("no command {path}"));
                options(&command)
            }
            _ => panic!("{kind} cannot be generated"),
        };
        new += &format!("{before}{BEGIN}{what}\n{generated}{END}");
        rest = after;
    }
    new + rest
}

/// Commands without subcommands, and those that can be called without one of theirs, with their full names.
fn leaves(command: Command) -> Vec<(String, Command)> {
    let below: Vec<_> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").cloned().collect();
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let itself = below.is_empty() || shown(&command).next().is_some();
    let itself = itself.then(|| (name.clone(), command.bin_name(name.clone())));
    let below = below.into_iter().flat_map(|c| {
        let bin_name = format!("{name} {}", c.get_name());
        leaves(c.bin_name(bin_name))
    });
    itself.into_iter().chain(below).collect()
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        !arg.is_hide_set()
            && arg.get_id() != "operation"
            && !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version)
    })
}

fn synopsis(command: &Command) -> String {
    let mut words = command.get_bin_name().unwrap().split(' ');
    let mut text = format!(".Nm {}\n", words.next().unwrap());
    text.extend(words.map(|word| format!(".Cm {word}\n")));
    // Options stand before the words of lgss_keyring, but after the arguments of a command.
    let arguments = command.get_positionals().map(|arg| {
        let several = if matches!(arg.get_action(), ArgAction::Append) { " ..." } else { "" };
        if arg.get_id() == "operation" {
            ".Cm create\n".to_owned()
        } else {
            let argument = format!("Ar {}{several}", value(arg));
            if arg.is_required_set() { format!(".{argument}\n") } else { format!(".Op {argument}\n") }
        }
    });
    let choice: Vec<_> = command
        .get_groups()
        .filter(|group| group.get_id() == "operation")
        .flat_map(|group| group.get_args())
        .collect();
    let chosen: Vec<String> =
        shown(command).filter(|arg| choice.contains(&arg.get_id())).map(short_flag).collect();
    let chosen = (!chosen.is_empty()).then(|| format!(".{}\n", chosen.join(" | ")));
    let of_their_own = |arg: &&Arg| !arg.is_positional() && !choice.contains(&arg.get_id());
    let options = shown(command).filter(of_their_own).map(|arg| {
        let text = flag(arg);
        if arg.is_required_set() { format!(".{text}\n") } else { format!(".Op {text}\n") }
    });
    if command.get_bin_name() == Some("lgss_keyring") {
        text.extend(options.chain(arguments));
    } else {
        text.extend(chosen.into_iter().chain(arguments).chain(options));
    }
    text
}

fn options(command: &Command) -> String {
    let mut text = ".Bl -tag -width Ds\n".to_owned();
    for arg in shown(command).filter(|arg| arg.get_help().is_some()) {
        let short = arg.get_short().map(|_| format!("{} , ", short_flag(arg)));
        text += &if arg.is_positional() {
            format!(".It Ar {}\n", value(arg))
        } else {
            format!(".It {}{}\n", short.unwrap_or_default(), flag(arg))
        };
        text += &prose(&arg.get_long_help().or(arg.get_help()).unwrap().to_string());
        if let Some(default) = arg.get_default_values().first().filter(|_| arg.get_action().takes_values()) {
            text += &format!("The default is\n.Li {} .\n", default.to_str().unwrap());
        }
    }
    text + ".El\n"
}

fn flag(arg: &Arg) -> String {
    let name = format!("Fl -{}", arg.get_long().unwrap());
    if arg.get_action().takes_values() { format!("{name} Ar {}", value(arg)) } else { name }
}

fn short_flag(arg: &Arg) -> String {
    let name = format!("Fl {}", arg.get_short().unwrap());
    if arg.get_action().takes_values() { format!("{name} Ar {}", value(arg)) } else { name }
}

fn value(arg: &Arg) -> String {
    arg.get_value_names().unwrap().first().unwrap().to_string()
}

/// One line for each sentence, as usual in manual pages.
fn prose(text: &str) -> String {
    let text = text.replace('\\', "\\e");
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.trim_end_matches('.').replace('\n', " "));
    let sentences = paragraphs.flat_map(|paragraph| {
        paragraph.split(". ").map(|sentence| format!("{}.\n", sentence.trim())).collect::<Vec<_>>()
    });
    sentences.map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }).collect()
}
