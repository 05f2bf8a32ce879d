//! A krb5.conf that is broken, or that workers cannot read: the log and the check say where the fault is.

use crate::support::command_line::{lgss, lines};
use crate::support::ports::free_port;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

crate::trials![
    a_broken_krb5_conf_is_told_with_file_line_and_words,
    a_broken_file_that_is_included_is_told_with_file_line_and_words,
    a_file_that_workers_cannot_read_or_that_there_is_not_is_told,
    whoever_has_no_ticket_hears_what_is_wrong_with_it,
    a_harmless_fault_does_not_stand_before_a_kdc_that_is_down,
];

/// The request's line in the log and the check have all of `words`.
#[track_caller]
fn expect(site: &Site, shared: &Shared, cause: Cause, words: &[&str]) {
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, cause, shared.nfs());
    site.log.wait_for_words(words);
    expect_of_the_check(site, words);
}

#[track_caller]
fn expect_of_the_check(site: &Site, words: &[&str]) {
    let mut check = Command::new(lgss(site));
    check.args(["config", "check", "--config"]).arg(site.path("lgss.toml"));
    let said = lines(&check.output().unwrap());
    assert!(
        said.lines().any(|line| words.iter().all(|word| line.contains(word))),
        "{words:?} is not in {said}"
    );
}

fn site_with(shared: &Shared, more: &str) -> Site {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let text = fs::read_to_string(site.path("krb5.conf")).unwrap();
    fs::write(site.path("krb5.conf"), text + more).unwrap();
    site
}

fn a_broken_krb5_conf_is_told_with_file_line_and_words(shared: &Shared) {
    let site = site_with(shared, "[realms]\n default_realm\n");
    let line = fs::read_to_string(site.path("krb5.conf")).unwrap().lines().count();
    let place = format!("/krb5.conf, line {line}: ");
    expect(&site, shared, Cause::BadKrb5Conf, &[&place, "= is missing in \"default_realm\""]);
}

fn a_broken_file_that_is_included_is_told_with_file_line_and_words(shared: &Shared) {
    let site = site_with(shared, "");
    let parts = site.path("parts");
    fs::create_dir(&parts).unwrap();
    let text = fs::read_to_string(site.path("krb5.conf")).unwrap();
    fs::write(site.path("krb5.conf"), format!("includedir {}\n{text}", parts.display())).unwrap();
    drop(site.ask(shared.nfs()).context());
    fs::write(parts.join("site.conf"), "[realms]\n A = {\n[libdefaults]\n").unwrap();
    let place = format!("{}, line 3: ", parts.join("site.conf").display());
    expect(&site, shared, Cause::BadKrb5Conf, &[&place, "a section begins while the { of line 2 is open"]);
    fs::remove_file(parts.join("site.conf")).unwrap();
    fs::set_permissions(&parts, Permissions::from_mode(0o700)).unwrap();
    let place = format!("/krb5.conf, line 1: includedir {}: ", parts.display());
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::BadKrb5Conf, shared.nfs());
    site.log.wait_for_words(&[&place, "Permission denied"]);
    expect_of_the_check(&site, &[&place, "has mode 0700"]);
}

/// The library treats a missing file as empty; it then knows no KDC.
fn a_file_that_workers_cannot_read_or_that_there_is_not_is_told(shared: &Shared) {
    let site = site_with(shared, "");
    let file = "/krb5.conf";
    fs::set_permissions(site.path("krb5.conf"), Permissions::from_mode(0o600)).unwrap();
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::BadKrb5Conf, shared.nfs());
    site.log.wait_for_words(&[file, "Permission denied"]);
    expect_of_the_check(&site, &[file, "cannot be read by workers"]);
    fs::remove_file(site.path("krb5.conf")).unwrap();
    let outcome = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), ":absent"));
    assert!(outcome.errno() != Cause::BadKrb5Conf.errno(), "the library goes on");
    site.log.wait_for_words(&["krb5.conf: ", file, "does not exist; it counts as empty"]);
    expect_of_the_check(&site, &[file, "does not exist"]);
}

/// Without the file the default cache differs. A user with no ticket there learns about the file, too.
fn whoever_has_no_ticket_hears_what_is_wrong_with_it(shared: &Shared) {
    let site = Site::new(shared.realm());
    for (words, instance) in [
        (["line 1: ", "stands before the first [section]"], ":garbage"),
        (["krb5.conf: ", "does not exist; it counts as empty"], ":absent"),
    ] {
        match instance {
            ":garbage" => fs::write(site.path("krb5.conf"), "blah blah\n").unwrap(),
            _ => fs::remove_file(site.path("krb5.conf")).unwrap(),
        }
        let outcome = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), instance));
        assert_eq!(outcome.errno(), Cause::NoTicket.errno());
        site.log.wait_for_words(&[words[0], words[1], "there is no such cache"]);
    }
}

fn a_harmless_fault_does_not_stand_before_a_kdc_that_is_down(shared: &Shared) {
    let site = site_with(shared, "");
    let text = fs::read_to_string(site.path("krb5.conf")).unwrap();
    let port = format!(":{}", shared.realm().kdc_port());
    let dead = format!(":{}", free_port());
    fs::write(site.path("krb5.conf"), format!("blah blah\n{}", text.replace(&port, &dead))).unwrap();
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::KdcDown, shared.nfs());
    let line = site.log.wait_for_words(&["kdc: ticket of ", &dead, "; krb5.conf: "]);
    assert!(line.contains("line 1: \"blah blah\" stands before the first [section]"), "{line}");
}
