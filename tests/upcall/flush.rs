//! `lgss flush` on contexts that the real upcall makes: whose it ends, which, and what others learn of it.

use crate::support::command_line::{get, json, leave_in_user_keyring, lgss, lines, session};
use crate::support::probe::{Probe, Step, as_user};
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::Site;
use serde_json::Value;
use std::fs;
use std::process::Command;

crate::trials![
    flush_ends_the_contexts_of_one_service_and_a_dry_run_none,
    a_refused_request_is_forgotten_by_a_flush,
    whoever_waits_for_a_context_learns_that_it_was_flushed,
    what_lgss_itself_has_ended_is_nothing_that_a_flush_fails_by,
    contexts_of_a_user_without_any_quota_left_can_be_flushed,
    root_ends_contexts_in_the_user_keyrings_of_all_users,
    a_user_ends_none_but_his_own_contexts,
    contexts_are_ended_by_their_keys,
];

fn flush_ends_the_contexts_of_one_service_and_a_dry_run_none(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let nfs = shared.nfs();
    let other = nfs.called("other@srv.invalid");
    let output = session(
        &site,
        &format!(
            "{get}; {other}; keyctl add user lgss:not-a-context x @s; keyctl add user unrelated x @s
             lgss flush --all --dry-run; lgss list
             lgss flush --service {service}; echo status $?; lgss list; {get}; keyctl list @s",
            get = get(nfs),
            other = get(&other),
            service = nfs.service
        ),
    );
    let text = lines(&output);
    assert!(
        text.contains("2 contexts would be ended") && text.contains("1 context ended\nstatus 0"),
        "{text}"
    );
    let (before, after) = text.split_once("1 context ended").unwrap();
    assert_eq!(before.matches(" established ").count(), 1, "the dry run ended it: {text}");
    let after_list = after.split("established after").next().unwrap();
    assert!(after_list.contains("other@srv.invalid") && !after_list.contains(" established "), "{text}");
    assert!(after.contains("linked to your session keyring"), "it was not negotiated anew: {text}");
    assert!(text.contains("lgss:not-a-context") && text.contains("unrelated"), "{text}");
    site.log.wait_for_words(&["established", &nfs.service]);
}

/// The key of a refused request is negative: it cannot be read, invalidated or revoked.
fn a_refused_request_is_forgotten_by_a_flush(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let script = format!(
        "keyctl request2 user lgss:{uid}:{service} 'lgss1;nonsense' @s; lgss list --json
         {get}; echo first $?; lgss flush --all; {get}; echo second $?",
        uid = site.uid(),
        service = shared.nfs().service,
        get = get(shared.nfs())
    );
    let text = lines(&session(&site, &script));
    assert!(text.contains("\"state\": \"failed\"") && text.contains("\"errno\": \"EINVAL\""), "{text}");
    assert!(text.contains("first 2") && text.contains("second 0"), "{text}");
}

fn whoever_waits_for_a_context_learns_that_it_was_flushed(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let silent = Server::silent();
    let target = shared.nfs().behind(&silent);
    // It writes the first line when it begins to wait.
    let script = format!(
        "{get} >{answer} 2>&1 & waiting=$!
         for i in $(seq 400); do [ -s {answer} ] && break; sleep 0.05; done
         lgss flush --all; wait $waiting; echo waited $?; cat {answer}",
        get = get(&target),
        answer = site.path("user").join("answer").display()
    );
    let text = lines(&session(&site, &script));
    assert!(text.contains("in_progress\n1 context ended\nwaited 9\n"), "{text}");
    assert!(text.contains("EKEYREVOKED") && text.contains("request it again"), "{text}");
}

fn what_lgss_itself_has_ended_is_nothing_that_a_flush_fails_by(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("FILE:{}", site.path("user").join("later").display());
    shared.realm().ticket(site.uid(), &cache);
    // The second request replaces the failure of the first; each flush asks for the end of a pause.
    let script = format!(
        "{get}; echo first $?; {get} --cache {cache}; echo second $?
         lgss flush --all; echo status $?; lgss flush --all; echo status $?",
        get = get(shared.nfs())
    );
    let text = lines(&session(&site, &script));
    assert!(text.contains("first 3\n") && text.contains("second 0\n"), "{text}");
    assert!(text.contains("1 context ended\nstatus 0\n0 contexts ended\nstatus 0\n"), "{text}");
}

/// The flush uses root's quota, not the user's.
fn contexts_of_a_user_without_any_quota_left_can_be_flushed(shared: &Shared) {
    let site = Site::new(shared.realm());
    let target = shared.nfs().called(&format!("full-{}@srv.invalid", site.uid()));
    leave_in_user_keyring(&site, &target);
    let mut steps = as_user(site.uid());
    steps.extend([Step::FillQuota { leave: 0 }, Step::Pause]);
    let mut full = Probe::start(&steps);
    full.until_pause();
    let service = format!("--service={}", target.service);
    let flushed = Command::new(lgss(&site)).args(["flush", "--all", &service]).output().unwrap();
    assert!(lines(&flushed).contains("1 context ended"), "{flushed:?}");
    full.go_on();
}

fn root_ends_contexts_in_the_user_keyrings_of_all_users(shared: &Shared) {
    let site = Site::new(shared.realm());
    // Longer than it takes to look through the keyrings of all users, twice, on a busy machine.
    let settings = fs::read_to_string(site.path("lgss.toml")).unwrap();
    let settings = settings.replace("negative_cache = \"10s\"", "negative_cache = \"180s\"");
    fs::write(site.path("lgss.toml"), settings).unwrap();
    // No other test has contexts with this service.
    let target = shared.nfs().called(&format!("of-{}@srv.invalid", site.uid()));
    leave_in_user_keyring(&site, &target);
    let root = |words: &[&str]| {
        Command::new("/usr/bin/keyctl").args(["session", "-"]).arg(lgss(&site)).args(words).output().unwrap()
    };
    let listed = json(&root(&["list", "--all", "--json"]));
    let row = listed[0].as_array().unwrap().iter().find(|row| row["service"] == target.service.as_str());
    assert_eq!(row.map(|row| (&row["owner"], &row["state"])), Some((&site.uid().into(), &"failed".into())));
    let service = format!("--service={}", target.service);
    let without_all = root(&["flush", &service]);
    assert!(lines(&without_all).contains("0 contexts ended"), "{without_all:?}");
    let flushed = json(&root(&["flush", "--all", &service, "--json"]));
    assert_eq!(flushed[0].as_array().unwrap().len(), 1, "{flushed:?}");
    assert_eq!(flushed[0][0]["outcome"], "ended");
    let left = session(&site, "lgss list --json");
    assert_eq!(json(&left)[0], Value::Array(vec![]));
}

fn a_user_ends_none_but_his_own_contexts(shared: &Shared) {
    let (site, other) = (Site::new(shared.realm()), Site::new(shared.realm()));
    let target = shared.nfs().called("own@srv.invalid");
    leave_in_user_keyring(&site, &target);
    let flushed = session(&other, "lgss flush --all; echo status $?");
    assert!(lines(&flushed).contains("0 contexts ended\nstatus 0"), "{flushed:?}");
    let left = session(&site, "lgss list; lgss flush --all");
    assert!(lines(&left).contains("own@srv.invalid") && lines(&left).contains("1 context ended"), "{left:?}");
}

fn contexts_are_ended_by_their_keys(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let other = shared.nfs().called("other@srv.invalid");
    let output = session(
        &site,
        &format!(
            "{}; {}; key=$(lgss list | awk '/established/ {{ print $1 }}'); lgss flush $key 12345678; echo status $?; lgss list",
            get(shared.nfs()),
            get(&other)
        ),
    );
    let text = lines(&output);
    assert!(text.contains("1 context ended\nstatus 6"), "{text}");
    assert!(text.contains("key 12345678 ") && text.contains("write 0x12345678"), "{text}");
    let listed = text.split("status 6").nth(1).unwrap();
    assert!(listed.contains("other@srv.invalid") && !listed.contains(" established "), "{text}");
}
