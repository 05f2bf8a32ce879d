//! `lgss` on contexts that the real upcall makes: get, list, show, config check.

use crate::support::command_line::{get, json, leave_in_user_keyring, lgss, lines, session};
use crate::support::keys::keys_of;
use crate::support::process::{command, command_as};
use crate::support::realm::Realm;
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::{stretched, wait_for};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

crate::trials![
    list_has_contexts_in_three_states_and_nothing_for_another_user,
    get_answers_in_json_with_the_context,
    show_list_and_flush_say_the_same_of_a_refused_request,
    root_lists_the_contexts_of_one_user_and_others_are_told_what_they_do_not_see,
    recommended_commands_work_as_they_stand,
    whoever_waits_at_a_terminal_sees_that_something_happens,
    names_of_nfs_and_units_are_understood,
    a_shell_is_offered_keys_services_and_users,
    a_prepared_installation_passes_the_check_and_each_fault_is_named,
    users_who_stop_their_processes_hold_nobody_up_who_lists_all,
];

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

/// `lgss config check` of a site, run by root; a rule for all uids is in a separate directory.
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

/// Four users, each of whom stops every process that runs as that user. The list says whose contexts are unknown.
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
        sites.iter().all(|site| keys_of(site.uid()) > 0).then_some(())
    });
    // It takes several runs until one of them is stopped before it has answered.
    let told = (0..20).find_map(|_| {
        let start = Instant::now();
        let output = command(lgss(&sites[0])).args(["list", "--all"]).output().unwrap();
        // One after another, they would cost forty seconds.
        let limit = stretched(Duration::from_secs(25)).min(Duration::from_secs(38));
        assert!(start.elapsed() < limit, "{:?} {output:?}", start.elapsed());
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

/// A request that the upcall refuses leaves a key with an error and nothing else.
const REFUSED: &str = "keyctl request2 user lgss:$(id -u):refused@srv.invalid 'lgss1;nonsense' @s 2>/dev/null
    key=$(keyctl show @s | awk '/refused@srv/ { print $1; exit }')";

fn show_list_and_flush_say_the_same_of_a_refused_request(shared: &Shared) {
    let site = Site::new(shared.realm());
    let output = session(
        &site,
        &format!(
            "{REFUSED}
             lgss list; lgss show $key; echo shown $?; lgss flush $key --dry-run; lgss flush $key; echo flushed $?
             # The kernel removes what is linked nowhere a moment later.
             for i in $(seq 200); do lgss show $key >/dev/null 2>&1 || break; sleep 0.05; done
             lgss show $key; echo gone $?"
        ),
    );
    let text = lines(&output);
    assert!(text.contains("failed: EINVAL"), "{text}");
    assert!(
        text.contains("state     failed") && text.contains("failure   EINVAL") && text.contains("shown 0"),
        "{text}"
    );
    assert!(text.contains("refused@srv.invalid, failed\n1 context would be ended"), "{text}");
    assert!(text.contains("refused@srv.invalid, failed\n1 context ended\nflushed 0"), "{text}");
    assert!(text.contains("gone 6"), "{text}");
}

fn root_lists_the_contexts_of_one_user_and_others_are_told_what_they_do_not_see(shared: &Shared) {
    let (site, other) = (Site::new(shared.realm()), Site::new(shared.realm()));
    for site in [&site, &other] {
        leave_in_user_keyring(site, &shared.nfs().called(&format!("of-{}@srv.invalid", site.uid())));
    }
    let uid = site.uid().to_string();
    let rows = json(&Command::new(lgss(&site)).args(["list", "--user", &uid, "--json"]).output().unwrap());
    let services: Vec<_> =
        rows[0].as_array().unwrap().iter().map(|row| row["service"].as_str().unwrap()).collect();
    assert_eq!(services, [format!("of-{uid}@srv.invalid")]);
    let script = format!(
        "lgss list --user {uid}; echo own $?; lgss list --user {}; echo others $?; lgss list --all",
        other.uid()
    );
    let text = lines(&session(&site, &script));
    assert!(
        text.contains("own 0") && text.contains("others 6") && text.contains("that takes the rights of root"),
        "{text}"
    );
    assert!(text.contains("not shown: ") && text.contains("sudo lgss list --all"), "{text}");
    let none = Command::new(lgss(&site)).args(["list", "--user", "no-such-user"]).output().unwrap();
    assert_eq!(none.status.code(), Some(6), "{none:?}");
}

/// Users type next what `lgss flush` recommends.
fn recommended_commands_work_as_they_stand(shared: &Shared) {
    let site = Site::new(shared.realm());
    let text = lines(&session(&site, &format!("{get}; {get}; lgss flush", get = get(shared.nfs()))));
    // No flush is needed after a failure.
    assert!(text.contains("in place of one that had failed (ENOKEY)"), "{text}");
    for form in
        ["lgss flush KEY", "lgss flush --service NAME@HOST", "lgss flush --all", "lgss flush --machine"]
    {
        assert!(text.contains(form), "{text}");
    }
    // This machine may have neither a journal nor a file of the system log.
    assert!(!text.contains("journalctl") || Path::new("/run/systemd/journal/socket").exists(), "{text}");
}

fn whoever_waits_at_a_terminal_sees_that_something_happens(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let silent = Server::silent();
    let target = shared.nfs().behind(&silent);
    let waiting = format!("waiting for {}", target.service);
    let get = get(&target).replacen("lgss", &lgss(&site).display().to_string(), 1);
    let script = |more: &str| format!("script -qefc '{get} --timeout 3s{more}' /dev/null </dev/null");
    let seen = lines(&session(&site, &script("")));
    assert!(seen.contains(&waiting) && seen.contains("still in progress"), "{seen}");
    let json = lines(&session(&site, &script(" --json")));
    assert!(!json.contains("waiting for") && json.contains("in_progress"), "{json}");
    let piped = lines(&session(&site, &format!("{get} --timeout 2s 2>&1 | cat")));
    assert!(!piped.contains("waiting for") && piped.contains("still in progress"), "{piped}");
}

fn names_of_nfs_and_units_are_understood(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let output = session(&site, &format!("{} --level krb5p --timeout 20s", get(shared.nfs())));
    assert!(lines(&output).contains("established after"), "{output:?}");
    let wrong = session(&site, &format!("{} --level krb5x", get(shared.nfs())));
    assert!(wrong.status.code() == Some(2) && lines(&wrong).contains("krb5p"), "{wrong:?}");
}

/// Asks as a shell does: the words so far, and the index of the one to complete.
fn completed(words: &str, index: usize) -> String {
    format!("LGSS_COMPLETE=bash _CLAP_COMPLETE_INDEX={index} _CLAP_IFS=' ' lgss -- lgss {words}")
}

fn a_shell_is_offered_keys_services_and_users(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let script = format!(
        "lgss() {{ env LGSS_COMPLETE=$LGSS_COMPLETE _CLAP_COMPLETE_INDEX=$_CLAP_COMPLETE_INDEX _CLAP_IFS=\"$_CLAP_IFS\" {lgss} \"$@\"; }}
         {lgss} get {service} --channel {channel} >/dev/null
         echo key $({lgss} list | awk '/established/ {{ print $1 }}')
         echo keys $({keys}); echo flushed $({flush}); echo services $({services})
         echo levels $({levels}); echo caches $({caches}); echo users $({users}); echo shells $({shells})",
        lgss = lgss(&site).display(),
        service = shared.nfs().service,
        channel = shared.nfs().channel(),
        keys = completed("show ''", 2),
        flush = completed("flush ''", 2),
        services = completed("flush --service ''", 3),
        levels = completed("get --level ''", 3),
        caches = completed("get --cache ''", 3),
        users = completed("list --user ''", 3),
        shells = completed("completion ''", 2),
    );
    let text = lines(&session(&site, &script));
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    };
    let key = line("key");
    assert!(line("keys").contains(&key) && line("flushed").contains(&key), "{text}");
    assert!(line("services").contains(&shared.nfs().service), "{text}");
    assert!(line("levels").contains("krb5p") && line("caches").contains("KEYRING:persistent"), "{text}");
    assert!(line("users").contains("root") && line("shells").contains("fish"), "{text}");
}
