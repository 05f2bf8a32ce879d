//! Compares the model with /sbin/request-key in its debugging mode, which starts nothing.

use super::*;
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

const REQUEST_DESCRIPTION: &str = "lgss:1000:nfs@h";
const REQUEST_CALLOUT: &str = "lgss1;svc=nfs@h";

/// A root directory with these files below `etc`.
fn rules(files: &[(&str, String)]) -> TempDir {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("etc/request-key.d")).unwrap();
    for (name, text) in files {
        fs::write(root.path().join("etc").join(name), text).unwrap();
    }
    root
}

/// The real program's choice: `FILE:LINE` of the last rule that it prefers, and the program of that rule.
fn real(root: &Path) -> Option<(String, String)> {
    let output = Command::new("/sbin/request-key")
        .args(["-l", "-d", "-n", "-v", "-D", &format!("user;0;0;1f0000;{REQUEST_DESCRIPTION}")])
        .args(["create", "1", "0", "0", "0", "0", "0", REQUEST_CALLOUT])
        .current_dir(root.join("etc"))
        .output()
        .expect("keyutils is installed");
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if text.contains("Syntax error") || text.contains("too long") {
        return None;
    }
    let preferred = text.lines().rfind(|line| line.contains("Prefer command"))?;
    let place = preferred.split(": ").next().unwrap().to_owned();
    let matched = text.lines().find(|line| line.starts_with(&format!("{place}: Line matches"))).unwrap();
    Some((place, matched.split('\'').nth(1).unwrap().split_whitespace().next().unwrap().to_owned()))
}

fn ours(root: &Path) -> Option<(String, String)> {
    let rules = Rules::read(root);
    let request = KeyRequest { key_type: "user", description: REQUEST_DESCRIPTION, callout: REQUEST_CALLOUT };
    match rules.choose(&request) {
        RuleChoice::Start(rule) => Some((
            format!("{}:{}", rule.line.file.file_name()?.to_str()?, rule.line.number),
            rule.command[0].to_owned(),
        )),
        _ => None,
    }
}

#[track_caller]
fn agree(files: &[(&str, String)]) -> Option<(String, String)> {
    let root = rules(files);
    let (ours, real) = (ours(root.path()), real(root.path()));
    assert_eq!(ours, real, "{files:#?}");
    ours
}

#[test]
fn a_more_specific_rule_is_chosen_wherever_it_stands() {
    let chosen = agree(&[
        ("request-key.d/lgss.conf", "create user lgss:* * /a\n".to_owned()),
        ("request-key.conf", "# x\ncreate user lgss:1* * /b\ncreate * lgss:1000:nfs@h * /c\n".to_owned()),
    ]);
    assert_eq!(chosen, Some(("request-key.conf:2".to_owned(), "/b".to_owned())));
}

#[test]
fn one_broken_line_in_any_file_ends_the_search() {
    let fine = ("request-key.d/lgss.conf", "create user lgss:* * /a\n".to_owned());
    assert!(agree(std::slice::from_ref(&fine)).is_some());
    for broken in ["create\n", "create user lgss:*\n", "create user lgss:* *\n", "create user lgss:* * \n"] {
        assert_eq!(agree(&[fine.clone(), ("request-key.conf", broken.to_owned())]), None, "{broken:?}");
    }
    for length in [4090, 4093, 4094, 4095, 4096, 9000] {
        for start in ["#", "create user x * /b "] {
            let line = format!("{start:x<length$}\n");
            agree(&[fine.clone(), ("request-key.d/z.conf", line)]);
        }
    }
}

#[test]
fn a_last_line_without_a_line_break_loses_a_character() {
    let chosen = agree(&[("request-key.conf", "create user lgss:* * /abc".to_owned())]);
    assert_eq!(chosen.unwrap().1, "/ab");
}

#[test]
fn links_and_other_names_are_passed_over() {
    for name in ["lgss.conf~", "lgss", ".lgss.conf", "lgss.conf.new", ".conf"] {
        let file = format!("request-key.d/{name}");
        assert_eq!(agree(&[(&file, "create user lgss:* * /a\n".to_owned())]), None, "{name}");
    }
    let root = rules(&[("real", "create user lgss:* * /a\n".to_owned())]);
    std::os::unix::fs::symlink("../real", root.path().join("etc/request-key.d/lgss.conf")).unwrap();
    assert_eq!((ours(root.path()), real(root.path())), (None, None));
    assert_eq!(Rules::read(root.path()).passed_over.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn the_real_program_makes_the_same_choice(
        lines in prop::collection::vec((
            prop::sample::select(vec!["create", "create", "create", "*", "cr*", "negate", " create", "#create"]),
            prop::sample::select(vec![" user ", " user ", "\tuser  ", " * ", " us* ", " key ", " "]),
            prop::sample::select(vec![
                "lgss:*", "lgss:*", "lgss:1*", "lgss:1000:nfs@h", "*", "*nfs@h", "lgss:*@h", "l*l", "lgss:*lgss", "*h",
                "lgss:1000:nfs@h*", "*lgss:1000:nfs@h", "**", "lgss:**", "other:*", "l*h", "lgss:1000:nfs@hh*",
            ]),
            prop::sample::select(vec![" * ", " * ", " lgss1;* ", " *h ", " lgss1;svc=nfs@h ", " l*gss ", " ", "\n"]),
            prop::sample::select(vec!["/a %k\n", "/b\n", "|/c x y\n", "/d", "\n", "\t\n", "/e # x\r\n"]),
            0..3usize,
        ), 1..7)
    ) {
        let names = ["request-key.d/lgss.conf", "request-key.d/a.conf", "request-key.conf"];
        let mut files = names.map(|name| (name, String::new()));
        for (op, key_type, description, callout, command, file) in lines {
            files[file].1 += &format!("{op}{key_type}{description}{callout}{command}");
        }
        agree(&files);
    }
}
