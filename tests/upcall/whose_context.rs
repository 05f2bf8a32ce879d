//! Whose context a program gets that asks again: that of the principal it asks for, by its present caches, and for
//! itself alone.

use crate::support::command_line::{lines, session};
use crate::support::outcome::Outcome;
use crate::support::owner_record::wait_until_breakable;
use crate::support::process::command_as;
use crate::support::realm::PASSWORD;
use crate::support::rpc::call_null_with;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site, install};
use lgss::private_to_lgss::ctx::user::{self, State};
use std::process::Stdio;

crate::trials![
    a_context_of_another_principal_gives_way_and_that_is_said,
    a_request_may_name_the_principal_that_it_wants_to_be,
    a_remembered_failure_gives_way_to_a_new_ticket,
    who_asks_anew_need_not_wait_for_the_end_of_a_pause,
    two_programs_have_a_context_each_and_both_count_from_one,
    the_end_in_token_list_and_log_is_the_one_that_was_asked_for,
];

fn get(target: &Target) -> String {
    format!("lgss get {} --channel {}", target.service, target.channel())
}

/// Makes another principal, and a shell function that gets its ticket into a cache.
fn bob(site: &Site, shared: &Shared) -> (String, String) {
    let name = format!("bob{}", site.uid());
    shared.realm().administrate(&[format!("addprinc -pw \"{PASSWORD}\" {name}")]);
    let become_bob = format!(
        "export KRB5_CONFIG={}; become_bob() {{ echo '{PASSWORD}' | kinit -c \"$1\" {name} >/dev/null; }}",
        site.path("krb5.conf").display()
    );
    (format!("{name}@{}", shared.realm().name()), become_bob)
}

#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not (in its place) in {text}"));
        rest = &rest[at + part.len()..];
    }
}

fn a_context_of_another_principal_gives_way_and_that_is_said(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let (bob, become_bob) = bob(&site, shared);
    let alice = format!("alice@{}", shared.realm().name());
    let (get, other, default) = (get(shared.nfs()), site.cache("bobs"), site.default_cache());
    let script = format!(
        "exec 2>&1; {become_bob}; become_bob {other}
         {get}; {get} --cache {other}; {get} --cache {other}; {get}; {get}
         kdestroy -q -c FILE:{default}; become_bob FILE:{default}; {get}",
        default = default.display()
    );
    let text = lines(&session(&site, &script));
    let (as_alice, as_bob) = (format!(": as {alice}, "), format!(": as {bob}, "));
    let (from_alice, from_bob) =
        (format!("in place of the one of {alice}:"), format!("in place of the one of {bob}:"));
    let had = "which you had already";
    in_order(
        &text,
        &[
            &as_alice,
            &from_alice,
            &as_bob,
            had,
            &as_bob,
            &from_bob,
            &as_alice,
            had,
            &as_alice,
            &from_alice,
            &as_bob,
        ],
    );
}

fn a_request_may_name_the_principal_that_it_wants_to_be(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let (bob, become_bob) = bob(&site, shared);
    let get = get(shared.nfs());
    let script = format!(
        "exec 2>&1; {become_bob}; become_bob {}
         {get} --principal {bob}; {get} --principal {bob}; {get} --principal nobody@{}; echo exit $?",
        site.cache("bobs"),
        shared.realm().name()
    );
    // Only the environment leads to this cache.
    let script = format!("export KRB5CCNAME={}; {script}", site.cache("bobs"));
    let text = lines(&session(&site, &script));
    let as_bob = format!(": as {bob}, ");
    let none =
        format!("no ticket for nobody@{}, the principal that the request requires", shared.realm().name());
    in_order(
        &text,
        &[&as_bob, "which you had already", &as_bob, "in place of the one of bob", "ENOKEY", &none, "exit 3"],
    );
    // With request_key(2) itself.
    let request = site.request_with(shared.nfs(), &format!("principal=alice@{}", shared.realm().name()));
    let initiator = site.ask_with(request).context().initiator.unwrap();
    assert!(initiator.principal.as_str().starts_with("alice@"), "{initiator:?}");
    assert!(matches!(
        site.ask_with(site.request_with(shared.nfs(), "principal=x;principal=y")),
        Outcome::Refused(nix::errno::Errno::EINVAL)
    ));
}

fn a_remembered_failure_gives_way_to_a_new_ticket(shared: &Shared) {
    let site = Site::new(shared.realm());
    // The ticket comes only after the first failure, from a file that is not yet the default cache.
    let kept = site.path("user").join("kept");
    shared.realm().ticket(site.uid(), &format!("FILE:{}", kept.display()));
    let script = format!(
        "exec 2>&1; {get}; echo first $?; cp {kept} {cache}; {get}; echo second $?",
        get = get(shared.nfs()),
        kept = kept.display(),
        cache = site.default_cache().display(),
    );
    let text = lines(&session(&site, &script));
    in_order(
        &text,
        &["first 3", "in place of one that had failed (ENOKEY)", "established after", "second 0"],
    );
}

fn who_asks_anew_need_not_wait_for_the_end_of_a_pause(shared: &Shared) {
    let extra = "[backoff]\nafter = 1\nfirst = \"300s\"\nlongest = \"300s\"\n";
    let site = Site::with(shared.realm(), &Settings { extra, ..Settings::default() });
    for round in 0..2 {
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{round}"));
        assert_eq!(site.ask_with(request).errno(), nix::errno::Errno::ENOKEY);
        site.wait_until_idle();
    }
    let Outcome::Failed { reason: Some(reason), .. } = site.ask(shared.nfs()) else { panic!("no pause") };
    assert!(
        reason.detail.contains("2 requests failed in a row, the last: ENOKEY: credentials: "),
        "{reason:?}"
    );
    assert!(reason.detail.contains("; paused for another "), "{reason:?}");
    site.ticket(shared.realm());
    wait_until_breakable(&site);
    let text = lines(&session(&site, &get(shared.nfs())));
    assert!(text.contains("established after"), "{text}");
    // A success ends the pause for all.
    drop(site.ask(shared.nfs()).context());
}

fn two_programs_have_a_context_each_and_both_count_from_one(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let program = site.path("probe");
    install(env!("CARGO_BIN_EXE_lgss-probe"), &program, 0o755);
    let description = format!("lgss:{}:{}", site.uid(), shared.nfs().service);
    let one = || {
        let mut command = command_as(site.uid(), "/usr/bin/keyctl");
        command.args(["session", "-"]).arg(&program).args(["use", &description, &shared.nfs().channel()]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let programs = [one(), one()];
    let contexts = programs.map(|program| {
        let said = program.wait_with_output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        let payload: Vec<u8> = said.split_whitespace().map(|byte| byte.parse().unwrap()).collect();
        match user::parse(&payload).unwrap() {
            State::Established(context) => context,
            other => panic!("{other:?}"),
        }
    });
    assert_ne!(contexts[0].handle, contexts[1].handle, "one context for both");
    // Each call has the sequence number 1.
    contexts.iter().for_each(|context| call_null_with(context, shared.nfs()));
}

fn the_end_in_token_list_and_log_is_the_one_that_was_asked_for(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let script = format!(
        "keyctl request2 user lgss:{uid}:{service} 'lgss1;svc={service};chan={channel};ttl=500' @s >/dev/null
         lgss get {service} --channel {channel}; lgss list --json",
        uid = site.uid(),
        service = shared.nfs().service,
        channel = shared.nfs().channel()
    );
    let output = session(&site, &script);
    let text = String::from_utf8(output.stdout).unwrap();
    let list: serde_json::Value = serde_json::from_str(&text[text.find("\n[").unwrap()..]).unwrap();
    let context = &list[0]["context"];
    let (end, left) = (context["endtime"].as_u64().unwrap(), context["lifetime_left"].as_u64().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((before + 499..=now + 500).contains(&end) && left <= 500, "{text}");
    site.log.wait_for_words(&["established", ", for 500 s "]);
}
