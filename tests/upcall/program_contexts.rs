//! `lgss::security` as programs use it: threads, forks, event loops, failures in words, contexts that end while they are
//! used, and two processes that share one.

use crate::support::command_line::lgss;
use crate::support::context_program::ContextProgram;
use crate::support::process::command_as;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use lgss::private_to_lgss::sys::keyctl;
use nix::errno::Errno;
use std::time::Duration;

crate::trials![
    all_threads_of_a_program_share_one_context_and_no_number_is_used_twice,
    the_last_clone_takes_the_key_with_it_whichever_thread_drops_it,
    an_event_loop_is_told_when_there_is_a_context,
    a_flush_by_the_user_is_noticed_by_sixteen_threads_that_use_the_context,
    a_context_that_expires_in_use_ends_for_all_and_the_next_lookup_has_another,
    a_new_context_is_made_before_the_old_one_ends_and_both_may_be_used,
    a_forked_child_has_a_context_of_its_own_and_cannot_use_its_parents,
    the_program_learns_why_and_once_there_is_a_ticket_gets_a_context,
    two_processes_that_share_one_key_never_sign_with_one_number,
    each_principal_has_a_shared_context_of_its_own,
    what_is_flushed_with_force_ends_in_use_and_what_is_not_may_be_used_to_the_end,
];

fn program(shared: &Shared, site: &Site, words: &[&str]) -> ContextProgram {
    ContextProgram::start(site, shared.nfs(), words)
}

/// The kernel lets root not look at a user's key, but says so.
fn is_there(serial: i32) -> bool {
    match keyctl::describe(serial) {
        Ok(_) | Err(Errno::EACCES) => true,
        Err(Errno::ENOKEY | Errno::EKEYREVOKED | Errno::EKEYEXPIRED) => false,
        Err(other) => panic!("{other}"),
    }
}

fn wait_until_gone(serial: i32) {
    wait_for("the key to go", Duration::from_secs(20), || (!is_there(serial)).then_some(()));
}

fn all_threads_of_a_program_share_one_context_and_no_number_is_used_twice(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = program(shared, &site, &["own"]);
    assert_eq!(program.obey("threads 16"), "same true tokens 16");
    // One negotiation for all of them, and the later lookups have its context.
    let key = program.context("lookup");
    assert_eq!(program.context("thread-lookup"), key);
    let said = program.obey("display");
    assert!(said.contains(&format!("as alice@{}", shared.realm().name())), "{said}");
    assert!(said.contains(&format!("key {key:08x}")), "{said}");
}

fn the_last_clone_takes_the_key_with_it_whichever_thread_drops_it(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = program(shared, &site, &["own"]);
    let key = program.context("thread-lookup");
    let listed = command_as(site.uid(), lgss(&site)).arg("list").output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&format!("{key} ")), "{listed:?}");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("used by a program"), "{listed:?}");
    assert_eq!(program.obey("flush graceful"), "1");
    assert_eq!(program.obey("validate"), "valid");
    assert!(is_there(key));
    assert_eq!(program.obey("drop"), "dropped");
    wait_until_gone(key);
}

fn an_event_loop_is_told_when_there_is_a_context(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = program(shared, &site, &["own"]);
    let key = program.context("poll");
    assert_eq!(program.obey("poll"), format!("at once context {key} alice@{}", shared.realm().name()));
    assert!(program.obey("flush forced").starts_with('1'));
    assert!(program.obey("at-once").starts_with("error InProgress: "));
    assert_ne!(program.context("lookup"), key);
}

fn a_flush_by_the_user_is_noticed_by_sixteen_threads_that_use_the_context(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    for keeping in ["own", "shared"] {
        let mut program = program(shared, &site, &[keeping]);
        let key = program.context("lookup");
        program.order("use-until-it-ends 16");
        assert_eq!(program.next_line(), "using");
        let flushed = command_as(site.uid(), lgss(&site)).args(["flush", &key.to_string()]).output().unwrap();
        assert!(flushed.status.success(), "{flushed:?}");
        assert_eq!(program.next_line(), "Dead");
        assert_eq!(program.obey("gc"), "1");
        assert_ne!(program.context("lookup"), key);
    }
}

fn a_context_that_expires_in_use_ends_for_all_and_the_next_lookup_has_another(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = program(shared, &site, &["own", "ttl=5"]);
    let key = program.context("lookup");
    program.order("use-until-it-ends 16");
    assert_eq!(program.next_line(), "using");
    // Whoever looks first finds that the key has gone, or that the time is over.
    let reasons = program.next_line();
    assert!(reasons.split(' ').all(|reason| reason == "Dead" || reason.starts_with("Expired(")), "{reasons}");
    assert_ne!(program.context("lookup"), key);
}

fn a_new_context_is_made_before_the_old_one_ends_and_both_may_be_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = program(shared, &site, &["own"]);
    let old = program.context("lookup");
    let new = program.context("refresh");
    assert_ne!(old, new);
    assert_eq!(program.context("lookup"), new);
    // Nobody has the old one any more.
    wait_until_gone(old);
    assert_ne!(program.context("replace"), new);
    wait_until_gone(new);
}

fn a_forked_child_has_a_context_of_its_own_and_cannot_use_its_parents(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = program(shared, &site, &["own"]);
    let parents = program.context("lookup");
    for _ in 0..5 {
        program.order("fork");
        assert_eq!(program.next_line(), "child: inherited Err(Forked)");
        let childs = program.next_line();
        assert!(childs.starts_with("child: context ") && !childs.contains(&parents.to_string()), "{childs}");
        assert_eq!(program.next_line(), "child: signed");
        assert_eq!(program.next_line(), "parent: valid");
    }
    assert_eq!(program.context("lookup"), parents);
}

fn the_program_learns_why_and_once_there_is_a_ticket_gets_a_context(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut program = program(shared, &site, &["own"]);
    let said = program.obey("lookup");
    for part in ["NoContext", "stage: \"credentials\"", "remedy: ", "kinit"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    site.ticket(shared.realm());
    // A failure is remembered for as long as the upcall says, and no upcall is made meanwhile.
    assert_eq!(program.obey("lookup"), said);
    program.obey("flush graceful");
    program.context("lookup");
}

fn two_processes_that_share_one_key_never_sign_with_one_number(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut programs = [program(shared, &site, &["shared"]), program(shared, &site, &["shared"])];
    let keys = programs.each_mut().map(|program| program.context("lookup"));
    assert_eq!(keys[0], keys[1]);
    let tokens = programs.each_mut().map(|program| program.obey("sign"));
    // RFC 4121 §4.2.6.1: the number is in bytes 8 to 15.
    let numbers = tokens.each_ref().map(|token| u64::from_str_radix(&token[16..32], 16).unwrap());
    assert!(numbers[0].abs_diff(numbers[1]) > 1_000_000, "{numbers:x?}");
    // One ends it for both.
    assert_eq!(programs[0].obey("die"), "died");
    assert!(programs[1].obey("validate").starts_with("error Dead"));
    let keys = programs.each_mut().map(|program| program.context("lookup"));
    assert_eq!(keys[0], keys[1]);
}

fn each_principal_has_a_shared_context_of_its_own(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let alice = format!("principal=alice@{}", shared.realm().name());
    let mut named = program(shared, &site, &["shared", &alice]);
    let mut unnamed = program(shared, &site, &["shared"]);
    let mut another =
        program(shared, &site, &["shared", &format!("principal=nobody@{}", shared.realm().name())]);
    let key = named.context("lookup");
    assert_ne!(unnamed.context("lookup"), key);
    let refused = another.obey("lookup");
    assert!(refused.contains("nobody@"), "{refused}");
    // Neither the request for another nor its failure has ended it.
    assert_eq!(named.obey("validate"), "valid");
    assert_eq!(named.context("lookup"), key);
}

fn what_is_flushed_with_force_ends_in_use_and_what_is_not_may_be_used_to_the_end(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut program = program(shared, &site, &["own"]);
    let first = program.context("lookup");
    assert_eq!(program.obey(&format!("flush-owner {}", site.uid() + 1)), "0");
    assert_eq!(program.obey(&format!("flush-owner {}", site.uid())), "1");
    assert_eq!(program.obey("validate"), "valid");
    let second = program.context("lookup");
    assert_ne!(first, second);
    wait_until_gone(first);
    assert_eq!(program.obey("flush forced"), "1");
    assert!(program.obey("sign").starts_with("error Dead"));
    wait_until_gone(second);
}
