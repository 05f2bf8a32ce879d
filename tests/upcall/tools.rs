//! `lgss` on contexts that the real upcall makes: get, list, flush, config check.

use crate::support::command_line::{json, lgss, lines, session};
use crate::support::probe::{Probe, Step, as_user};
use crate::support::process::{command, command_as};
use crate::support::realm::Realm;
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

crate::trials![
    list_has_contexts_in_three_states_and_nothing_for_another_user,
    flush_ends_the_contexts_of_one_service_and_a_dry_run_none,
    a_flushed_failure_is_asked_for_anew_at_once,
    a_refused_request_is_forgotten_by_a_flush,
    whoever_waits_for_a_context_learns_that_it_was_flushed,
    contexts_of_a_user_without_any_quota_left_can_be_flushed,
    root_ends_contexts_in_the_user_keyrings_of_all_users,
    a_user_ends_none_but_his_own_contexts,
    get_answers_in_json_with_the_context,
    a_prepared_installation_passes_the_check_and_each_fault_is_named,
    users_who_stop_their_processes_hold_nobody_up_who_lists_all,
];

fn get(target: &Target) -> String {
    format!("lgss get {} --channel {}", target.service, target.channel())
}

fn list_has_contexts_in_three_states_and_nothing_for_another_user(_: &Shared) {
    let realm = Realm::start();
    let slow = format!("slow@{}", realm.host());
    realm.administrate(&[format!("addprinc -randkey {}", slow.replace('@', "/"))]);
    let ganesha = crate::support::ganesha::Ganesha::start(&realm, crate::support::process::Until::TestEnds);
    let silent = Server::silent();
    let site = Site::new(&realm);
    site.ticket(&realm);
    let nfs = ganesha.target();
    let (slow, unknown) = (nfs.called(&slow).behind(&silent), nfs.called("unknown@srv.invalid"));
    let mut stranger = command_as(site.uid() + 1, lgss(&site));
    let output = session(
        &site,
        &format!(
            "keyctl link @u @s; {} >&2; {} >&2; {} --timeout 0 >&2; lgss list --json; lgss list >&2; keyctl show >&2; exit 0",
            get(nfs),
            get(&unknown),
            get(&slow)
        ),
    );
    let found = json(&output);
    let rows = found[0].as_array().unwrap();
    let state = |target: &Target| {
        let row = rows.iter().find(|row| row["service"] == target.service.as_str());
        let row = row.unwrap_or_else(|| panic!("{} is not in {output:?}", target.service));
        assert_eq!((&row["owner"], &row["type"]), (&Value::from(site.uid()), &Value::from("user")));
        row["state"].as_str().unwrap().to_owned()
    };
    assert_eq!([nfs, &unknown, &slow].map(state), ["established", "failed", "in_progress"]);
    assert_eq!(rows.len(), 3, "{rows:?}");
    let table = lines(&output);
    assert!(table.contains("failed: EACCES") && table.contains("KEY"), "{table}");
    let seen = json(&stranger.args(["list", "--json"]).output().unwrap());
    assert_eq!(seen[0], Value::Array(vec![]), "another user sees them");
}

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

fn a_flushed_failure_is_asked_for_anew_at_once(shared: &Shared) {
    let site = Site::new(shared.realm());
    // The ticket comes only after the first failure, from a file that is not the default cache yet.
    let kept = site.path("user").join("kept");
    shared.realm().ticket(site.uid(), &format!("FILE:{}", kept.display()));
    let output = session(
        &site,
        &format!(
            "{get}; echo first $?; cp {kept} {cache}; {get}; echo second $?
             lgss flush --service {service}; {get}; echo third $?",
            get = get(shared.nfs()),
            kept = kept.display(),
            cache = site.default_cache().display(),
            service = shared.nfs().service
        ),
    );
    let text = lines(&output);
    for part in ["first 3", "second 3", "1 context ended", "third 0"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

/// Its key is negative, which cannot be read, invalidated or revoked.
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
    assert!(text.contains("first 1") && text.contains("second 0"), "{text}");
}

fn whoever_waits_for_a_context_learns_that_it_was_flushed(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let silent = Server::silent();
    let target = shared.nfs().behind(&silent);
    // Its first line comes when it begins to wait.
    let script = format!(
        "{get} >{answer} 2>&1 & waiting=$!
         for i in $(seq 400); do [ -s {answer} ] && break; sleep 0.05; done
         lgss flush --all; wait $waiting; echo waited $?; cat {answer}",
        get = get(&target),
        answer = site.path("user").join("answer").display()
    );
    let text = lines(&session(&site, &script));
    assert!(text.contains("in_progress\n1 context ended\nwaited 1\n"), "{text}");
    assert!(text.contains("EKEYREVOKED") && text.contains("request it again"), "{text}");
}

/// Root's quota is used, not the user's.
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

/// A context in the user's own keyring, which outlives the session that made it.
fn leave_in_user_keyring(site: &Site, target: &Target) {
    let made = session(site, &format!("keyctl link @u @s; {}; keyctl list @u", get(target)));
    assert!(lines(&made).contains(&target.service), "{made:?}");
}

fn root_ends_contexts_in_the_user_keyrings_of_all_users(shared: &Shared) {
    let site = Site::new(shared.realm());
    // No other test's contexts are with this service.
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

fn get_answers_in_json_with_the_context(shared: &Shared) {
    let site = Site::new(shared.realm());
    let get = get(shared.nfs());
    let refused = session(&site, &format!("{get} --json"));
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let answer = &json(&refused)[0];
    assert_eq!((&answer["state"], &answer["failure"]["errno"]), (&"failed".into(), &"ENOKEY".into()));
    site.ticket(shared.realm());
    let established = session(&site, &format!("{get} --json; {get} --json"));
    assert_eq!((established.status.code(), lines(&established).contains("lgss:")), (Some(0), false));
    let answers = json(&established);
    for (answer, found) in answers.iter().zip([false, true]) {
        assert_eq!((&answer["state"], &answer["found"]), (&"established".into(), &found.into()));
        assert_eq!(
            (&answer["context"]["window"], &answer["context"]["handle_length"]),
            (&32.into(), &16.into())
        );
        assert!(answer["waited_ms"].is_u64() && answer.get("failure").is_none());
    }
    assert_eq!(answers[0]["serial"], answers[1]["serial"]);
}

/// `lgss config check` of a site, by root; a rule for all uids stands in a directory of its own.
fn check(site: &Site) -> (i32, String) {
    let output =
        Command::new(lgss(site)).args(["config", "check", "--root"]).arg(site.path("root")).output().unwrap();
    (output.status.code().unwrap(), lines(&output))
}

fn a_prepared_installation_passes_the_check_and_each_fault_is_named(shared: &Shared) {
    let site = Site::new(shared.realm());
    let rules = site.path("root/etc/request-key.d");
    fs::create_dir_all(&rules).unwrap();
    let dir = site.path("");
    let rule = format!(
        "create user lgss:* * {0}/lgss_keyring --config {0}/lgss.toml %o %k %t %d %c %u %g %T %P %S\n",
        dir.display()
    );
    fs::write(rules.join("lgss.conf"), &rule).unwrap();
    let (status, text) = check(&site);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("\n0 errors, "), "{text}");
    let fault = |part: &str, exit: i32, change: &dyn Fn(&Path), restore: &dyn Fn(&Path)| {
        change(&dir);
        let (status, text) = check(&site);
        restore(&dir);
        assert!(status == exit && text.contains(part), "{part} is not in {text}");
        assert!(text.contains("try:"), "no remedy: {text}");
    };
    let mode = |name: &'static str, mode: u32| {
        move |dir: &Path| fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap()
    };
    let owner =
        |name: &'static str, uid: u32| move |dir: &Path| chown(dir.join(name), Some(uid), None).unwrap();
    fault("mode 0755: users can attach", 0, &mode("lgss_negotiate", 0o755), &mode("lgss_negotiate", 0o711));
    fault("users cannot execute it", 8, &mode("lgss_negotiate", 0o700), &mode("lgss_negotiate", 0o711));
    fault("cannot be read by workers", 8, &mode("krb5.conf", 0o600), &mode("krb5.conf", 0o644));
    fault("run has mode 0755", 0, &mode("run", 0o755), &mode("run", 0o700));
    fault("lgss_keyring is not owned by root", 8, &owner("lgss_keyring", 1), &owner("lgss_keyring", 0));
    fault("lgss.toml is not owned by root", 8, &owner("lgss.toml", 1), &owner("lgss.toml", 0));
    let settings = fs::read_to_string(dir.join("lgss.toml")).unwrap();
    let write = |text: String| move |dir: &Path| fs::write(dir.join("lgss.toml"), &text).unwrap();
    fault("line 2: unknown field", 8, &write(format!("\nwroker = 1\n{settings}")), &write(settings.clone()));
    let table = |setting: &str| write(format!("{settings}[namespace.web]\nowner = 1000\n{setting}\n"));
    let restore = write(settings.clone());
    fault("/absent.conf does not exist", 0, &table("krb5_config = \"/absent.conf\""), &restore);
    fault("/absent.keytab: No such file", 8, &table("keytab = \"/absent.keytab\""), &restore);
    let open = format!("keytab = {:?}", dir.join("krb5.conf"));
    mode("krb5.conf", 0o666)(&dir);
    fault("krb5.conf is not owned by root or is writable by others", 8, &table(&open), &restore);
    mode("krb5.conf", 0o644)(&dir);
    let other = rules.join("other.conf");
    let shadow = |_: &Path| fs::write(&other, "create user lgss:0:* * /bin/other %k\n").unwrap();
    fault("requests of lgss:0:* start /bin/other", 8, &shadow, &|_| fs::remove_file(&other).unwrap());
    assert_eq!(check(&site).0, 0);
}

/// Four of them, each of whom stops whatever runs as that user. What is not known of them is said.
fn users_who_stop_their_processes_hold_nobody_up_who_lists_all(shared: &Shared) {
    let sites: Vec<_> = (0..4).map(|_| Site::new(shared.realm())).collect();
    let mut stoppers: Vec<_> = sites
        .iter()
        .map(|site| {
            let script = "keyctl add user lgss-test-holder x @u >/dev/null; while :; do kill -STOP -1; done";
            command_as(site.uid(), "sh").args(["-c", script]).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    wait_for("keys of all", Duration::from_secs(10), || {
        let users = fs::read_to_string("/proc/key-users").unwrap();
        sites.iter().all(|site| users.contains(&format!("{}:", site.uid()))).then_some(())
    });
    // Not every time is one of them stopped before it has answered.
    let told = (0..20).find_map(|_| {
        let start = Instant::now();
        let output = command(lgss(&sites[0])).args(["list", "--all"]).output().unwrap();
        // One after another they would have cost forty seconds.
        assert!(start.elapsed() < Duration::from_secs(25), "{:?} {output:?}", start.elapsed());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        told.contains("timed out").then_some(told)
    });
    for stopper in &mut stoppers {
        stopper.kill().unwrap();
        stopper.wait().unwrap();
    }
    let told = told.unwrap();
    assert!(sites.iter().any(|site| told.contains(&format!("contexts of uid {}: ", site.uid()))), "{told}");
}
