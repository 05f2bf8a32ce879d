//! Programs in C and in Python that use liblgss: they get contexts, wait in poll(2), protect messages, and learn why there is none.

use crate::support::c_library::{c_program, run_with_library};
use crate::support::shared::Shared;
use crate::support::site::{Site, install};
use std::path::{Path, PathBuf};
use std::process::Output;

crate::trials![
    the_example_in_c_signs_and_encrypts,
    the_example_in_python_signs_and_encrypts,
    without_a_ticket_both_say_what_is_wrong_and_what_to_do,
    sixteen_threads_of_a_c_program_share_one_context,
    a_forked_c_program_has_a_context_of_its_own_and_cannot_use_its_parents,
    an_event_loop_in_c_waits_refreshes_and_replaces,
];

fn python_example(site: &Site) -> [PathBuf; 2] {
    let script = site.path("lgss_sign.py");
    install(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/lgss_sign.py"), &script, 0o644);
    ["/usr/bin/python3".into(), script]
}

/// keyctl(1) says on standard error which session it began.
#[track_caller]
fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = if code == 0 { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(text).into_owned()
}

fn the_example_in_c_signs_and_encrypts(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let program = c_program(&site, "examples/c/sign.c");
    let said = said(&run_with_library(&site, &[&program], shared.nfs(), &[]), 0);
    assert!(said.contains(&format!("as alice@{}, aes", shared.realm().name())), "{said}");
    assert!(said.contains("9 bytes of message, 28 bytes of signature, 69 bytes encrypted\n"), "{said}");
}

fn the_example_in_python_signs_and_encrypts(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let [python, script] = python_example(&site);
    let said = said(&run_with_library(&site, &[&python, &script], shared.nfs(), &[]), 0);
    let expected = format!(
        "{} as alice@{}\n9 bytes of message, 28 of signature, 69 encrypted\n",
        shared.nfs().service,
        shared.realm().name()
    );
    assert_eq!(said, expected);
}

fn without_a_ticket_both_say_what_is_wrong_and_what_to_do(shared: &Shared) {
    let site = Site::new(shared.realm());
    let program = c_program(&site, "examples/c/sign.c");
    let [python, script] = python_example(&site);
    for words in [&[program.as_path()][..], &[&python, &script]] {
        let said = said(&run_with_library(&site, words, shared.nfs(), &[]), 1);
        for part in ["no usable ticket", "detail: FILE:", "try:    ", "kinit"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}

/// tests/c/session.c checks by itself, and ends with what it has seen.
#[track_caller]
fn session(shared: &Shared, what: &str) -> String {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let program = c_program(&site, "tests/c/session.c");
    said(&run_with_library(&site, &[&program], shared.nfs(), &[what]), 0)
}

fn sixteen_threads_of_a_c_program_share_one_context(shared: &Shared) {
    assert_eq!(session(shared, "threads"), "16 threads, 1 context, 16 numbers\n");
}

fn a_forked_c_program_has_a_context_of_its_own_and_cannot_use_its_parents(shared: &Shared) {
    assert_eq!(session(shared, "fork"), "child: inherited: -10; has its own\nparent: goes on\n");
}

fn an_event_loop_in_c_waits_refreshes_and_replaces(shared: &Shared) {
    assert_eq!(session(shared, "poll"), "waited, at once, refreshed, flushed, replaced\n");
}
