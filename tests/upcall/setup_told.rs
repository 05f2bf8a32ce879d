//! What whoever sets lgss up learns from the programs themselves and from the log, besides `lgss config check`.

use crate::installation::WORDS;
use crate::support::command_line::{lgss, lines};
use crate::support::probe::{Step, as_user};
use crate::support::process::{command, command_as};
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::errno::Errno;
use std::fs;
use std::path::Path;
use std::process::Output;

crate::trials![
    words_missing_or_swapped_in_the_rule_are_the_rules_fault,
    the_upcall_and_the_worker_say_who_they_are,
    the_log_names_the_settings_in_effect,
    a_tmp_that_is_not_the_hosts_is_told,
];

/// The requester cannot repair the rule: it gets EIO, not EINVAL, and not ENOKEY for a minute.
fn words_missing_or_swapped_in_the_rule_are_the_rules_fault(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for (words, told) in [
        ("%o %k %t %d %c %u %g %T %P", "9 words instead of 10"),
        ("%o %t %d %c %u %g %T %P %S", "9 words instead of 10"),
        ("%k %o %t %d %c %u %g %T %P %S", "where %o"),
        ("%o %t %k %d %c %u %g %T %P %S", "where %k"),
        ("%o %k %d %t %c %u %g %T %P %S", "for %t, %d does not match the key"),
        ("%o %k %t %c %d %u %g %T %P %S", "for %d does not match the key"),
        ("%o %k %t %d %u %c %g %T %P %S", "where %u"),
        ("%d %o %k %t %c %u %g %T %P %S", "where %o"),
        ("--shell %o %k %t %d %c %u %g %T %P %S", "\"--shell\" stands where %o"),
    ] {
        site.replace_rules(|rule| rule.replace(WORDS, words));
        let errno = site.ask(shared.nfs()).errno();
        assert_eq!(errno, Errno::EIO, "{words}: {:#?}", site.log.lines());
        site.log.wait_for_words(&["key ", "rule", told, "EIO"]);
        site.replace_rules(|rule| rule.replace(words, WORDS));
    }
    drop(site.ask(shared.nfs()).context());
}

fn answer(program: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output: Output = command(program).args(words).output().unwrap();
    (output.status.code(), lines(&output))
}

fn the_upcall_and_the_worker_say_who_they_are(shared: &Shared) {
    let site = Site::new(shared.realm());
    let upcall = site.path("lgss_keyring");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(answer(&upcall, &["--version"]), (Some(0), format!("lgss_keyring (lgss) {version}\n")));
    let worker = site.path("lgss_negotiate");
    assert_eq!(answer(&worker, &["--version"]), (Some(0), format!("lgss_negotiate (lgss) {version}\n")));
    let (status, help) = answer(&upcall, &["--help"]);
    assert!(status == Some(0) && help.contains(WORDS) && help.contains("--self-check"), "{help}");
    let (status, text) = answer(&upcall, &[]);
    assert!(status == Some(1) && text.contains("--help"), "{text}");
    // Options in a request's words have no effect: the request is malformed.
    let output = command_as(site.uid(), "/usr/bin/keyctl")
        .args([
            "session",
            "-",
            "/usr/bin/keyctl",
            "request2",
            "user",
            &format!("lgss:{}:--version", site.uid()),
            "--help",
            "@s",
        ])
        .output()
        .unwrap();
    assert!(lines(&output).contains("Invalid argument"), "{}", lines(&output));
    site.log.wait_for_words(&["authorise", "EINVAL"]);
}

fn the_log_names_the_settings_in_effect(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    fs::remove_file(site.path("lgss_negotiate")).unwrap();
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::EIO);
    let line = site.log.wait_for_words(&["launch", "EIO"]);
    let settings = site.path("lgss.toml");
    assert!(line.contains(settings.to_str().unwrap()) && !line.contains("/etc/lgss"), "{line}");
}

/// kinit has put the ticket into the host's /tmp.
fn a_tmp_that_is_not_the_hosts_is_told(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut steps = vec![Step::PrivateDirectory { directory: "/tmp".to_owned(), files: Vec::new() }];
    steps.extend(as_user(site.uid()));
    let outcome = site.ask_after(steps, site.request(shared.nfs()));
    assert_eq!(outcome.errno(), Errno::ENOKEY);
    site.log.wait_for_words(&["ENOKEY", "its /tmp is not the host's"]);
    let program = lgss(&site);
    let script = format!(
        "mount -t tmpfs none /tmp && exec setpriv --reuid={0} --regid={0} --clear-groups {1} caches --config {2}",
        site.uid(),
        program.display(),
        site.path("lgss.toml").display()
    );
    let output = command("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    assert!(lines(&output).contains("its /tmp is not the host's"), "{}", lines(&output));
    let output = command_as(site.uid(), program)
        .args(["caches", "--config"])
        .arg(site.path("lgss.toml"))
        .output()
        .unwrap();
    assert!(!lines(&output).contains("not the host's"), "{}", lines(&output));
}
