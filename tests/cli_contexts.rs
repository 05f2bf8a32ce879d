//! `lgss list`, `flush`, `config`, `completion` and `get --json` without an upcall; each test has its own session
//! keyring.
//!
//! Needs root and a kernel with keys. The services of these contexts are unique to each test, as root sees all its
//! keys.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is how it fails")]

use std::ffi::CString;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use lgss::private_to_lgss::ctx::user;
use lgss::private_to_lgss::event::{Cause, Failure, Stage};
use lgss::private_to_lgss::sys::keyctl;
use serde_json::Value;

fn lgss(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lgss")).args(words).stdin(Stdio::null()).output().unwrap()
}

fn run(words: &[&str]) -> (i32, String, String) {
    let output = lgss(words);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn json(words: &[&str]) -> Value {
    let (_, out, err) = run(words);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

fn add(description: &str, payload: &[u8], ring: i32) -> i32 {
    keyctl::add(c"user", &CString::new(description).unwrap(), payload, ring).unwrap()
}

/// The contexts for a service on this host that `lgss list` shows.
fn listed(host: &str) -> Vec<Value> {
    let all = json(&["list", "--json"]);
    let is_ours = |row: &&Value| row["service"].as_str().is_some_and(|service| service.ends_with(host));
    all.as_array().unwrap().iter().filter(is_ours).cloned().collect()
}

#[test]
fn a_row_of_the_list_is_the_object_of_show() {
    let session = keyctl::join_anonymous_session().unwrap();
    let failure = Failure::new(Stage::Kdc, Cause::KdcSilent, "").with_gss_major(0x000d_0000);
    let failed = add("lgss:0:nfs@row.test:instance", user::failed(&failure).as_slice(), session);
    let rows = listed("row.test");
    assert_eq!(rows, [json(&["show", &failed.to_string(), "--json"])]);
    let (status, out, err) = run(&["list"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let line = out.lines().find(|line| line.contains("row.test")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, [&failed.to_string(), "0", "failed:", "ETIMEDOUT", "-", "nfs@row.test:instance"]);
}

#[test]
fn what_only_looks_like_a_context_is_not_listed_and_survives_a_flush() {
    let session = keyctl::join_anonymous_session().unwrap();
    let payload = user::in_progress();
    let others = [
        "lgss:0:nfs",
        "lgss:zero:nfs@forged.test",
        "lgss:0:nfs@forged.test\n0000000a I--Q---     1 perm 3f010000     0     0 user      lgss:0:nfs@forged.test",
        "x\n12345678 I--Q---     1 perm 3f010000     0     0 user      lgss:0:nfs@forged.test: 12",
    ]
    .map(|description| add(description, payload.as_slice(), session));
    let ring = keyctl::add(c"keyring", c"lgss:0:nfs@forged.test", b"", session).unwrap();
    assert_eq!(listed("forged.test"), Vec::<Value>::new());
    let (status, out, _) = run(&["flush", "--service", "nfs@forged.test"]);
    assert_eq!((status, out.as_str()), (0, "0 contexts ended\n"));
    let left = keyctl::links(session).unwrap();
    assert!(others.iter().chain([&ring]).all(|key| left.contains(key)), "{others:?} {left:?}");
}

#[test]
fn the_context_among_thousands_of_keys_in_nested_keyrings_is_found() {
    let session = keyctl::join_anonymous_session().unwrap();
    let outer = keyctl::add(c"keyring", c"outer", b"", session).unwrap();
    let inner = keyctl::add(c"keyring", c"inner", b"", outer).unwrap();
    // As a list of serials, more than the 32 KiB of a payload.
    for i in 0..9000 {
        add(&format!("foreign {i}"), b"x", inner);
    }
    let context = add("lgss:0:nfs@many.test", user::in_progress().as_slice(), inner);
    let rows = listed("many.test");
    assert_eq!(
        (rows.len(), &rows[0]["serial"], &rows[0]["state"]),
        (1, &context.into(), &"in_progress".into())
    );
    let (status, out, _) = run(&["flush", "--service", "nfs@many.test"]);
    assert!(status == 0 && out.ends_with("1 context ended\n"), "{out}");
    assert_eq!(keyctl::links(inner).unwrap().len(), 9000);
    keyctl::clear(inner).unwrap();
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let session = keyctl::join_anonymous_session().unwrap();
    let context = add("lgss:0:nfs@dry.test", user::in_progress().as_slice(), session);
    let words = ["flush", "--service", "nfs@dry.test", "--dry-run"];
    let (status, out, _) = run(&words);
    assert_eq!(status, 0);
    assert!(
        out.starts_with(&format!("would end: key {context} ")) && out.ends_with("1 context would be ended\n"),
        "{out}"
    );
    let rows = json(&[&words[..], &["--json"]].concat());
    assert_eq!((&rows[0]["outcome"], &rows[0]["state"]), (&"would_end".into(), &"in_progress".into()));
    assert_eq!(keyctl::links(session).unwrap(), [context]);
}

#[test]
fn a_context_of_another_session_is_kept_and_the_reason_told() {
    let first = keyctl::join_anonymous_session().unwrap();
    let context = add("lgss:0:nfs@kept.test", user::in_progress().as_slice(), first);
    // This keeps the key, but does not lead the program to it.
    keyctl::link(context, keyctl::PROCESS_KEYRING).unwrap();
    keyctl::join_anonymous_session().unwrap();
    assert_eq!(listed("kept.test")[0]["state"], Value::Null);
    let (status, out, err) = run(&["flush", "--service", "nfs@kept.test", "--dry-run"]);
    assert_eq!((status, out.as_str()), (7, "0 contexts would be ended, 1 not\n"));
    assert!(err.contains(&format!("would not end: key {context} ")), "{err}");
    let (status, out, err) = run(&["flush", "--service", "nfs@kept.test"]);
    assert_eq!((status, out.as_str()), (7, "0 contexts ended, 1 not\n"));
    assert!(
        err.contains(&format!("not ended: key {context} ")) && err.contains("only its possessor may"),
        "{err}"
    );
    let (_, _, human) = run(&["list"]);
    assert_eq!(human, "");
}

#[test]
fn flush_wants_to_be_told_what_to_flush() {
    let (status, out, err) = run(&["flush"]);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(err.contains("--service NAME@HOST") && err.contains("--all"), "{err}");
}

#[test]
fn get_answers_in_json_also_when_nothing_can_be_requested() {
    let output = lgss(&["get", "nfs@h", "--channel", "rpc:h:1,2,3", "--cache", "MEMORY:x", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(2), &b""[..]));
    assert_eq!(
        (&answer["serial"], &answer["state"], &answer["failure"]["errno"]),
        (&Value::Null, &Value::Null, &"EINVAL".into())
    );
    assert!(answer["failure"]["cause"].as_str().unwrap().contains("MEMORY"), "{answer}");
}

#[test]
fn settings_that_others_could_have_written_are_neither_shown_nor_passed_by_the_check_but_explained() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[limits]\nusers = 0").unwrap();
    let name = file.path().to_str().unwrap();
    let (status, out, err) = run(&["config", "show", "--config", name]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("writable by others") && err.contains("lgss config check"), "{err}");
    // Without the rules of the machine, whose settings would be checked as well.
    let elsewhere = tempfile::tempdir().unwrap();
    let without_rules = elsewhere.path().to_str().unwrap();
    let findings = json(&["config", "check", "--root", without_rules, "--config", name, "--json"]);
    let errors: Vec<&str> = findings
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["subject"] == "settings" && finding["level"] == "error")
        .filter_map(|finding| finding["finding"].as_str())
        .collect();
    assert!(errors.len() == 2 && errors[1].contains("must not be zero"), "{errors:?}");
    assert_eq!(run(&["config", "check", "--config", name]).0, 8);
}

#[test]
fn settings_are_shown_with_where_they_come_from_in_a_form_that_can_be_read_again() {
    let directory = tempfile::Builder::new().prefix("lgss-test-").tempdir_in("/var/lib").unwrap();
    let file = directory.path().join("lgss.toml");
    std::fs::write(&file, "worker = \"/w\"\n[timeouts]\nkdc = 7\n").unwrap();
    let name = file.to_str().unwrap();
    let (status, out, err) = run(&["config", "show", "--config", name]);
    assert_eq!((status, err.as_str()), (0, ""));
    let set: Vec<&str> = out.lines().filter(|line| line.ends_with("# set in the file")).collect();
    assert!(
        set.len() == 2 && set[0].starts_with("worker = \"/w\" ") && set[1].starts_with("kdc = \"7s\" "),
        "{out}"
    );
    let read = lgss::private_to_lgss::config::Config::parse(&out, &file).unwrap();
    assert_eq!(read, lgss::private_to_lgss::config::Config::load(Some(&file)).unwrap());
    let shown = json(&["config", "show", "--config", name, "--json"]);
    assert_eq!(shown["settings"]["timeouts"]["kdc"]["source"], "file");
    assert_eq!(shown["settings"]["timeouts"]["round"]["source"], "default");
}

#[test]
fn a_private_setting_is_shown_as_set_and_nothing_more() {
    let directory = tempfile::Builder::new().prefix("lgss-test-").tempdir_in("/var/lib").unwrap();
    let file = directory.path().join("lgss.toml");
    let text =
        "[namespace.web]\nowner = 1000\ncgroup = \"/machine.slice/web-*\"\n[namespace.db]\nowner = 1001\n";
    std::fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let (status, out, err) = run(&["config", "show", "--config", name]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("cgroup = \"(set, private)\"") && !out.contains("web-*"), "{out}");
    let shown = json(&["config", "show", "--config", name, "--json"]);
    let tables = &shown["settings"]["namespace"];
    assert_eq!(tables["web"]["value"]["cgroup"], "(set, private)", "{shown}");
    assert_eq!(tables["db"]["value"].get("cgroup"), None, "{shown}");
    assert!(!shown.to_string().contains("web-*"), "{shown}");
    // A mistake in it is told without it.
    std::fs::write(&file, text.replace("/machine.slice", "machine.slice")).unwrap();
    for command in ["show", "check"] {
        let (status, out, err) = run(&["config", command, "--config", name]);
        assert!(status != 0 && !(out + &err).contains("web-*"), "{command}: {err}");
    }
}

#[test]
fn the_classes_are_those_of_the_document() {
    let rows = json(&["config", "show", "--classes", "--json"]);
    let rows = rows.as_array().unwrap();
    assert!(rows.len() > 100, "{}", rows.len());
    let (_, out, _) = run(&["config", "show", "--classes"]);
    assert_eq!(out.lines().count(), rows.len() + 1);
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/classes.md")).unwrap();
    for row in rows {
        let [of, name, class] = ["of", "name", "class"].map(|field| row[field].as_str().unwrap());
        assert!(document.contains(&format!("| {of} | `{name}` | {class} |\n")), "{of} {name} {class}");
        assert!(out.lines().any(|line| line.split_whitespace().eq([of, name, class])), "{of} {name} {class}");
    }
    assert_eq!(run(&["config", "show", "--classes", "--config", "/x"]).0, 2);
}

#[test]
fn a_shell_reads_the_completion() {
    for (shell, part) in
        [("bash", "-F _clap_complete_lgss"), ("zsh", "#compdef lgss"), ("fish", "--command lgss")]
    {
        let (status, out, _) = run(&["completion", shell]);
        assert!(status == 0 && out.contains(part), "{out}");
        assert!(out.contains("LGSS_COMPLETE"), "{out}");
    }
    let (_, script, _) = run(&["completion", "bash"]);
    let mut bash = Command::new("bash").args(["-n", "/dev/stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn the_help_says_what_it_is_how_it_is_used_and_where_to_look() {
    let (status, help, _) = run(&["--help"]);
    assert_eq!(status, 0);
    for part in ["Examples:", "Exit status:", "journalctl -t lgss_keyring", "lgss config check", "lgss flush"]
    {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}
