//! `lgss` as users run it.

use super::process::command_as;
use super::server::Target;
use super::site::{Site, install};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Output;

/// Runs a script of the site's user in one session; `lgss` in it is the program under test.
pub(crate) fn session(site: &Site, script: &str) -> Output {
    let mut shell = command_as(site.uid(), "/usr/bin/keyctl");
    shell.args([
        "session",
        "-",
        "/bin/sh",
        "-c",
        &format!("lgss() {{ {} \"$@\"; }}\n{script}", lgss(site).display()),
    ]);
    shell.env_remove("KRB5CCNAME").output().unwrap()
}

/// The command that asks for a context.
pub(crate) fn get(target: &Target) -> String {
    format!("lgss get {} --channel {}", target.service, target.channel())
}

/// Makes a context in the user's own keyring, which outlives the session.
#[track_caller]
pub(crate) fn leave_in_user_keyring(site: &Site, target: &Target) {
    let made = session(site, &format!("keyctl link @u @s; {}; keyctl list @u", get(target)));
    assert!(lines(&made).contains(&target.service), "{made:?}");
}

/// Installs the program where the user may execute it.
pub(crate) fn lgss(site: &Site) -> PathBuf {
    let program = site.path("lgss");
    if !program.exists() {
        install(env!("CARGO_BIN_EXE_lgss"), &program, 0o755);
    }
    program
}

#[track_caller]
pub(crate) fn json(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text).into_iter().collect();
    values.unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
pub(crate) fn lines(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}
