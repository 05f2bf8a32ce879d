//! Operators: what members of the group of `lgss_helper` do without being root, and what others are told.

use crate::support::command_line::{leave_in_user_keyring, lines, session};
use crate::support::operators::{Membership, Operators};
use crate::support::process::Process;
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

crate::trials![
    members_list_and_end_the_contexts_of_others,
    whoever_is_neither_root_nor_a_member_learns_what_is_missing,
    members_see_which_tickets_a_user_has,
    members_check_the_installation_as_root_does,
    members_load_and_list_shared_keys,
    members_read_what_the_log_says_of_others,
    members_run_hooks_and_learn_no_reason,
    a_failure_holds_up_members_even_if_the_helper_is_killed,
    two_operators_at_once_are_both_served,
];

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn members_list_and_end_the_contexts_of_others(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    leave_in_user_keyring(&site, shared.nfs());
    let operators = Operators::of(&site);
    let (user, operator) = (site.uid(), operators.uid());
    // On a busy machine with very many users not all of them answer in time.
    crate::support::wait::wait_for("the user's contexts", std::time::Duration::from_secs(120), || {
        let all = text(&operators.run(Membership::Member, "lgss list --all --json"));
        all.contains(&format!("\"owner\": {user}")).then_some(())
    });
    let listed = operators.run(
        Membership::Member,
        &format!("lgss list --user {user}; lgss flush --uid {user} --dry-run; lgss list --user {user}"),
    );
    let said = text(&listed);
    assert!(said.contains(" established ") && said.contains("1 context would be ended"), "{said}");
    let serial = said
        .lines()
        .find(|line| line.contains(" established "))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    // Their own --all does not reach others', and a key does.
    let kept = text(&operators.run(
        Membership::Member,
        &format!("lgss flush --all; lgss list --user {user}; lgss flush {serial} --dry-run"),
    ));
    assert!(
        kept.contains("0 contexts ended")
            && kept.contains(&serial)
            && kept.contains("1 context would be ended"),
        "{kept}"
    );
    let flushed = text(&operators.run(
        Membership::Member,
        &format!("lgss flush --user {user} --service other@srv.invalid; lgss flush --user {user}; echo status $?; lgss list --user {user}"),
    ));
    let (first, rest) = flushed.split_once("0 contexts ended").unwrap();
    assert!(!first.contains("ended:"), "{flushed}");
    assert!(rest.contains("1 context ended\nstatus 0") && !rest.contains(" established "), "{flushed}");
    for done in [
        "list of all users",
        &format!("list of uid {user}"),
        &format!("1 context, 0 of them kept: flush of all contexts of uid {user}"),
    ] {
        site.log.wait_for(|line| {
            line.contains("lgss_helper[")
                && line.contains(&format!("uid {operator}: "))
                && line.contains(done)
        });
    }
}

fn whoever_is_neither_root_nor_a_member_learns_what_is_missing(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let key = site.path("no.key").display().to_string();
    let script = format!(
        "lgss list --all; lgss list --user 1; echo list $?; lgss flush --user 1; echo flush $?; lgss caches --user 1; echo caches $?
         lgss log; echo log $?; lgss_sk list; echo sk $?; lgss_sk -l {key}; echo load $?"
    );
    let said = text(&operators.run(Membership::Outsider, &script));
    assert_eq!(said.matches("you are neither root nor in group").count(), 7, "{said}");
    for end in
        ["list 6", "flush 6", "caches 6", "log 6", "sk 1", "load 1", "sudo lgss list --all", "usermod -aG"]
    {
        assert!(said.contains(end), "{end}: {said}");
    }
    std::fs::remove_file(operators.helper()).unwrap();
    let said = text(&operators.run(Membership::Member, &script));
    assert_eq!(
        said.matches("lgss_helper, which lends them to a group, is not installed").count(),
        7,
        "{said}"
    );
}

fn members_see_which_tickets_a_user_has(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let operators = Operators::of(&site);
    let show = format!("lgss caches --user {} --target {}", site.uid(), shared.nfs().service);
    let by_root = Command::new(site.path("lgss")).args(show.split(' ').skip(1)).output().unwrap();
    let by_operator = operators.run(Membership::Member, &show);
    let (root, operator) = (text(&by_root), text(&by_operator));
    assert!(operator.contains("the upcall would use"), "{operator}");
    let rows = |text: &str| {
        text.lines()
            .filter(|line| line.contains("FILE:"))
            .map(|line| line.split("  ").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&root), rows(&operator), "{root}{operator}");
    let (configured, roots) = (
        text(&operators.run(Membership::Member, &format!("{show} --config /etc/passwd"))),
        text(&operators.run(Membership::Member, "lgss caches --user 0")),
    );
    assert!(
        configured.contains("takes the rights of root") && roots.contains("by root only"),
        "{configured}{roots}"
    );
    site.log.wait_for(|line| line.contains(&format!("caches of uid {} for", site.uid())));
}

fn members_check_the_installation_as_root_does(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let check = "lgss config check --json; echo >&2";
    // Other tests put rules in place meanwhile; what only root can see of this site is always there.
    let findings = |output: &Output| {
        let findings: Vec<Value> =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let own = site.path("").display().to_string();
        let texts = findings
            .into_iter()
            .map(|finding| format!("{} {} {}", finding["level"], finding["subject"], finding["finding"]));
        texts.filter(|text| text.contains(&own)).collect::<std::collections::BTreeSet<_>>()
    };
    let by_root = operators
        .command_of(["--reuid=0".to_owned()], site.path("lgss"))
        .args(["config", "check", "--json"])
        .output()
        .unwrap();
    let (root, member) = (findings(&by_root), findings(&operators.run(Membership::Member, check)));
    assert_eq!(root, member);
    assert!(root.iter().any(|text| text.contains("run_dir")), "{root:?}");
    site.log.wait_for(|line| line.contains("config check") && line.contains("finding"));
    // Others see with their own eyes.
    let before = site.log.lines().len();
    let outsider = findings(&operators.run(Membership::Outsider, check));
    assert!(outsider.iter().any(|text| text.contains("settings")), "{outsider:?}");
    assert_eq!(site.log.lines().len(), before);
    // Nor is a file that a member names opened for them.
    let named = operators.run(Membership::Member, "lgss config check --config /etc/shadow");
    assert!(text(&named).contains("Permission denied"), "{named:?}");
    assert_eq!(site.log.lines().len(), before);
}

fn members_load_and_list_shared_keys(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let name = format!("t{}", site.uid());
    let script = format!(
        "umask 077; cd {home} || exit; head -c 32 /dev/urandom >secret && lgss_sk -t server -f {name} -n guests -d secret -w one.key && lgss_sk -v -l one.key; echo load $?
         lgss_sk list --json; lgss_sk -t server -f {name} -n guests -w two.key; lgss_sk -l two.key --suffix --timeout 100; lgss_sk list",
        home = home(&site).display()
    );
    let output = operators.run(Membership::Member, &script);
    let loaded = text(&output);
    let forget = || {
        let keys = Command::new("keyctl").args(["show", "@u"]).output().unwrap();
        for line in String::from_utf8_lossy(&keys.stdout)
            .lines()
            .filter(|line| line.contains(&format!("lustre:{name}")))
        {
            let serial = line.split_whitespace().next().unwrap();
            Command::new("keyctl").args(["unlink", serial, "@u"]).output().unwrap();
        }
    };
    let secret = std::fs::read(home(&site).join("secret")).map(|key| hex(&key)).unwrap_or_default();
    let key = std::fs::read(home(&site).join("one.key")).map(|key| hex(&key)).unwrap_or_default();
    assert!(key.contains(&secret), "the search is for what is in the key");
    forget();
    assert!(
        loaded.contains("load 0") && loaded.contains(&format!("\"name\": \"lustre:{name}:guests\"")),
        "{loaded}"
    );
    assert!(
        loaded.contains("serves for another")
            && loaded.matches(&format!("lustre:{name}:guests")).count() >= 3,
        "{loaded}"
    );
    site.log.wait_for(|line| {
        line.contains(&format!("loaded as 1 name: load of shared key lustre:{name}:guests"))
    });
    assert!(
        !secret.is_empty() && site.log.lines().iter().all(|line| !line.contains(&secret)),
        "a secret in the log"
    );
}

/// A directory of an operator's.
fn home(site: &Site) -> std::path::PathBuf {
    let home = site.path("operator");
    if !home.exists() {
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(site.machine_uid()), None).unwrap();
    }
    home
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn members_read_what_the_log_says_of_others(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    let nothing = text(&operators.run(Membership::Member, "lgss log; echo status $?"));
    assert!(nothing.contains("no file of a system log") && nothing.contains("status 6"), "{nothing}");
    let log = operators.log_files().join("auth.log");
    let user = site.uid();
    let lines = format!(
        "Nov 30 21:00:01 n sshd[1]: session opened\n\
         Nov 30 21:00:02 n lgss_keyring[2]: key 1 uid {user} krb5 nfs@srv: credentials: expired \u{1b}[2J\n\
         Nov 30 21:00:03 n lgss_keyring[3]: key 2 uid 1 krb5 nfs@srv: uid {user} established\n"
    );
    std::fs::write(&log, lines).unwrap();
    std::os::unix::fs::chown(&log, Some(1), None).unwrap();
    let one = operators.run(Membership::Member, &format!("lgss log --user {user}"));
    let said = String::from_utf8_lossy(&one.stdout).into_owned();
    assert!(said.lines().count() == 1 && said.contains("expired") && !said.contains('\u{1b}'), "{one:?}");
    let all = operators.run(Membership::Member, "lgss log -n 2 --json");
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(
        (all["place"].as_str(), all["lines"].as_array().unwrap().len()),
        (Some("/var/log/auth.log"), 2)
    );
    // What is no file of the log's is not opened as one.
    std::fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", &log).unwrap();
    std::os::unix::fs::lchown(&log, Some(1), None).unwrap();
    let linked = text(&operators.run(Membership::Member, "lgss log"));
    assert!(linked.contains("auth.log") && !linked.contains("root:"), "{linked}");
}

/// Two hooks, of which others could have written one. A failure takes at least the delay.
fn hooks(site: &Site, operators: &Operators<'_>, delay: &str) {
    let hooks = operators.settings().join("hooks.d");
    std::fs::create_dir_all(&hooks).unwrap();
    for directory in [operators.settings(), hooks.clone()] {
        std::fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    }
    let settings = format!(
        "run_dir = \"{0}run\"\n[log]\nsocket = \"/dev/log\"\n[hooks]\nuser = \"{1}\"\ndelay = \"{delay}\"\n",
        site.path("").display(),
        site.uid()
    );
    std::fs::write(operators.settings().join("lgss.toml"), settings).unwrap();
    for (name, mode) in [("check", 0o755), ("open", 0o777)] {
        std::fs::write(hooks.join(name), "#!/bin/sh\ncat\n").unwrap();
        std::fs::set_permissions(hooks.join(name), Permissions::from_mode(mode)).unwrap();
    }
}

fn members_run_hooks_and_learn_no_reason(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    hooks(&site, &operators, "20ms");
    let run = operators.run(Membership::Member, "lgss hook run check");
    let result: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    assert_eq!(result, serde_json::json!({ "purpose": "operator", "hook": "check", "uid": operators.uid() }));
    let refused = text(&operators.run(
        Membership::Member,
        "lgss hook run open; echo $?; lgss hook run absent; echo $?; lgss hook run ../check; echo $?",
    ));
    assert_eq!(refused.matches("does not exist, may not be run, or failed").count(), 2, "{refused}");
    assert!(refused.contains("14\n14\n2\n") && !refused.contains("S14"), "{refused}");
    let by = format!("asked for by uid {}", operators.uid());
    site.log.wait_for(|line| line.contains("hook open") && line.contains(&by) && line.contains("S14"));
    site.log.wait_for(|line| line.contains("lgss_helper[") && line.contains("done: a hook"));
    let outsider = text(&operators.run(
        Membership::Outsider,
        "lgss hook run check; echo $?; LGSS_HOOK=check lgss hook run --for-uid 0",
    ));
    assert!(outsider.contains("neither root nor in group") && outsider.starts_with("6\n"), "{outsider}");
    assert!(outsider.contains("options of this command take the rights of root"), "{outsider}");
}

/// Names cannot be guessed faster by ending what answers too late.
fn a_failure_holds_up_members_even_if_the_helper_is_killed(shared: &Shared) {
    let site = Site::new(shared.realm());
    let operators = Operators::of(&site);
    hooks(&site, &operators, "3s");
    let began = Instant::now();
    let mut failing = operators.command(Membership::Member, site.path("lgss"));
    let mut failing =
        failing.args(["hook", "run", "absent"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    site.log.wait_for(|line| line.contains("hook absent asked for"));
    let helpers = Process::running_from(&site.path(""));
    let helper = helpers.iter().find(|process| process.exe == operators.helper()).unwrap();
    kill(helper.pid, Signal::SIGKILL).unwrap();
    assert!(!failing.wait().unwrap().success());
    let run = operators.run(Membership::Member, "lgss hook run check");
    assert!(run.status.success(), "{run:?}");
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
}

fn two_operators_at_once_are_both_served(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let operators = Operators::of(&site);
    leave_in_user_keyring(&site, shared.nfs());
    let words = ["list", "--user", &site.uid().to_string(), "--json"].map(str::to_owned);
    let list = |uid: u32| {
        let ids =
            [format!("--reuid={uid}"), "--regid=65534".to_owned(), format!("--groups={}", operators.group())];
        let mut command = operators.command_of(ids, site.path("lgss"));
        command.args(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let another = 4_000_900;
    let both: Vec<_> = [operators.uid(), another, operators.uid(), another].map(list).into();
    for listed in both {
        let said = text(&listed.wait_with_output().unwrap());
        assert_eq!(said.matches(&format!("\"owner\": {}", site.uid())).count(), 1, "{said}");
    }
    assert!(lines(&session(&site, "lgss list")).contains("KEY"), "the user's own is still there");
}
