//! `lgss caches` ranks as the upcall does, for the same user in the same session, and changes nothing.

use crate::support::command_line::{json, lgss, lines, session};
use crate::support::fuse::{Fuse, Silence};
use crate::support::keys::keys_of;
use crate::support::process::command_as;
use crate::support::realm::{PASSWORD, Realm};
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

crate::trials![
    a_session_is_shown_the_ranking_that_the_upcall_then_makes,
    a_cache_that_comes_first_by_the_settings_is_said_to,
    a_ready_ticket_is_told_and_so_is_one_of_another_realm,
    root_sees_the_caches_of_a_user_but_not_those_of_its_sessions,
    nobody_else_sees_them,
    without_a_cache_it_says_what_to_do,
    of_root_only_the_default_cache_counts,
    looking_makes_no_keyring_and_asks_no_kdc,
    a_session_that_was_revoked_is_told_and_does_no_harm,
    a_file_system_that_does_not_answer_is_passed_over,
];

/// A path in /tmp where the search looks for the site's user.
fn in_tmp(site: &Site, name: &str) -> PathBuf {
    PathBuf::from(format!("{}_{name}", site.default_cache().display()))
}

fn file(path: &std::path::Path) -> String {
    format!("FILE:{}", path.display())
}

/// `lgss caches` with the site's settings, for scripts.
fn caches(site: &Site) -> String {
    format!("lgss caches --config {}", site.path("lgss.toml").display())
}

/// Command that gets a ticket in the session of the script.
fn kinit(site: &Site, cache: &str, life: &str) -> String {
    let config = site.path("krb5.conf");
    format!("echo '{PASSWORD}' | KRB5_CONFIG={} kinit -c {cache} -l {life} alice >&2", config.display())
}

/// Runs `lgss caches` directly, without a shell.
fn run(mut command: Command, site: &Site, words: &[&str]) -> Output {
    command.args(["caches", "--config"]).arg(site.path("lgss.toml")).args(words);
    command.env_remove("KRB5CCNAME").output().unwrap()
}

/// Names of the usable caches, in the order of their ranks.
#[track_caller]
fn ranked(answer: &Value) -> Vec<String> {
    let rows = answer["caches"].as_array().unwrap();
    let usable = rows.iter().filter(|row| row["rank"].is_u64());
    let names: Vec<_> = usable
        .zip(1u64..)
        .map(|(row, rank)| {
            assert_eq!(row["rank"], rank, "{answer}");
            row["cache"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(answer["would_use"].as_str(), names.first().map(String::as_str), "{answer}");
    names
}

fn reason<'a>(answer: &'a Value, cache: &str) -> &'a str {
    let row = answer["caches"].as_array().unwrap().iter().find(|row| row["cache"] == cache);
    let row = row.unwrap_or_else(|| panic!("{cache} is not in {answer}"));
    row["reason"].as_str().unwrap_or_else(|| panic!("nothing against {row}"))
}

/// Makes caches of every kind. Returns those in files, in their order if the first is named, and the unusable ones with
/// the reasons.
fn furnish(site: &Site, realm: &Realm, other: &Realm) -> (Vec<String>, [(String, &'static str); 4]) {
    fs::write(site.path("krb5.conf"), realm.krb5_conf_with(other)).unwrap();
    let collection = in_tmp(site, "dir");
    fs::create_dir(&collection).unwrap();
    chown(&collection, Some(site.uid()), Some(site.uid())).unwrap();
    let member = format!("DIR::{}", collection.join("tkt1").display());
    let (named, default) = (site.cache("named"), file(&site.default_cache()));
    for (cache, life) in [(&member, "4h"), (&named, "3h"), (&default, "2h")] {
        realm.ticket_with(site.uid(), cache, &["-l", life]);
    }
    let foreign = file(&in_tmp(site, "foreign"));
    other.ticket_with(site.uid(), &foreign, &["-l", "20h"]);
    let (expired, link, loose) = (in_tmp(site, "expired"), in_tmp(site, "link"), in_tmp(site, "loose"));
    realm.expired_ticket(site.uid(), &file(&expired));
    symlink(site.path("user").join("named"), &link).unwrap();
    lchown(&link, Some(site.uid()), Some(site.uid())).unwrap();
    realm.ticket(site.uid(), &file(&loose));
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o620)).unwrap();
    // This cache is counted, not named.
    let others = in_tmp(site, "others");
    fs::copy(site.default_cache(), &others).unwrap();
    let useless = [
        (file(&expired), "ticket expired"),
        (file(&link), "is not a regular file"),
        (file(&loose), "is writable by others"),
        ("/tmp".to_owned(), "of other users"),
    ];
    (vec![named, default, member, foreign], useless)
}

fn a_session_is_shown_the_ranking_that_the_upcall_then_makes(shared: &Shared) {
    let (site, other) = (Site::new(shared.realm()), Realm::start());
    let (mut files, useless) = furnish(&site, shared.realm(), &other);
    let service = &shared.nfs().service;
    let script = format!(
        "export KRB5CCNAME={named}
         {kinit}
         {caches} --target {service} --json; {caches} --target {service} >&2
         lgss get {service} --channel {channel} >&2",
        named = files[0],
        kinit = kinit(&site, "KEYRING:session:mine", "90m"),
        caches = caches(&site),
        channel = shared.nfs().channel()
    );
    let output = session(&site, &script);
    assert!(output.status.success(), "{output:?}");
    let answer = &json(&output)[0];
    let names = ranked(answer);
    assert!(names[3].starts_with("KEYRING:session:mine:"), "{names:?}");
    files.insert(3, names[3].clone());
    assert_eq!(names, files, "{answer:#}");
    for (cache, why) in &useless {
        assert!(reason(answer, cache).contains(why), "{cache}: {answer:#}");
    }
    let table = lines(&output);
    assert!(table.contains(&format!("the upcall would use {} (alice@", names[0])), "{table}");

    let line = site.log.wait_for_words(&["chosen: "]);
    let log = line.split("chosen: ").nth(1).unwrap();
    let told: Vec<_> = names.iter().map(|name| log.find(name.as_str())).collect();
    assert!(told.is_sorted() && told[0].is_some(), "{names:?} {told:?}: {line}");
    assert!(log.find("; not: ") > told[0] && log.find("; not: ") < told[1], "{line}");
    let rows = answer["caches"].as_array().unwrap();
    for row in rows.iter().filter(|row| row["reason"].is_string()) {
        let (cache, reason) = (row["cache"].as_str().unwrap(), row["reason"].as_str().unwrap());
        // Seconds pass between the two, and other users' files come and go.
        let reason =
            reason.split(" expired ").next().unwrap().trim_start_matches(|c: char| c.is_ascii_digit());
        assert!(log.contains(cache) && log.contains(reason), "{row} is not in {line}");
    }
}

fn a_cache_that_comes_first_by_the_settings_is_said_to(shared: &Shared) {
    let settings = [
        ("", true),
        ("choice = \"wish\"", true),
        ("krb5ccname = \"first\"", true),
        ("choice = \"longest\"\nkrb5ccname = \"first\"", true),
        ("krb5ccname = \"ranked\"", false),
        ("choice = \"longest\"", false),
    ];
    for (setting, first) in settings {
        let site = Site::new(shared.realm());
        site.ticket(shared.realm());
        let named = site.cache("named");
        shared.realm().ticket_with(site.uid(), &named, &["-l", "1h"]);
        site.add_settings(&format!("[caches]\n{setting}\n"));
        let ask = format!("export KRB5CCNAME={named}; {caches} --json; {caches}", caches = caches(&site));
        let output = session(&site, &ask);
        let mut expected = [named, file(&site.default_cache())];
        if !first {
            expected.reverse();
        }
        assert_eq!(ranked(&json_part(&output)), expected, "{setting}");
        let said = lines(&output).contains("first, because KRB5CCNAME names it");
        assert_eq!(said, first, "{setting}: {output:?}");
    }
    let site = Site::new(shared.realm());
    site.add_settings("[caches]\nkrb5ccname = \"nonsense\"\n");
    let broken = session(&site, &caches(&site));
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
}

/// The JSON object that precedes the table.
#[track_caller]
fn json_part(output: &Output) -> Value {
    let mut values = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    values.next().unwrap_or_else(|| panic!("{output:?}")).unwrap()
}

fn a_ready_ticket_is_told_and_so_is_one_of_another_realm(shared: &Shared) {
    let (site, other) = (Site::new(shared.realm()), Realm::start());
    fs::write(site.path("krb5.conf"), shared.realm().krb5_conf_with(&other)).unwrap();
    let default = file(&site.default_cache());
    shared.realm().ticket_with(site.uid(), &default, &["-l", "2h"]);
    let foreign = file(&in_tmp(&site, "foreign"));
    other.ticket_with(site.uid(), &foreign, &["-l", "20h"]);
    let service = &shared.nfs().service;
    let (caches, channel) = (caches(&site), shared.nfs().channel());
    site.add_settings("[caches]\nchoice = \"longest\"\n");
    let script = format!(
        "{caches} --json; {caches} --target {service} --json
         lgss get {service} --channel {channel} >&2; {caches} --target {service} --json"
    );
    let output = session(&site, &script);
    let answers = json(&output);
    let default = file(&site.default_cache());
    assert_eq!(
        ranked(&answers[0]),
        [foreign.as_str(), &default],
        "without a target the realm counts for nothing"
    );
    for (answer, ready) in answers[1..].iter().zip([false, true]) {
        assert_eq!(ranked(answer), [default.as_str(), &foreign], "{output:?}");
        let [first, second] = [&answer["caches"][0], &answer["caches"][1]];
        assert_eq!((&first["reach"], &first["ready"]), (&"target".into(), &ready.into()), "{answer:#}");
        assert_eq!(second["reach"], "other_realm");
        let left = first["seconds_left"].as_u64().unwrap();
        assert!(left > 3600 && first["end"].as_u64().unwrap() > left, "{answer:#}");
        assert_eq!(answer["target"], service.as_str());
    }
}

fn root_sees_the_caches_of_a_user_but_not_those_of_its_sessions(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let script = format!(
        "keyctl link @u @s; {}; {}; {} --json",
        kinit(&site, "KEYRING:session:mine", "90m"),
        kinit(&site, "KEYRING:user:kept", "80m"),
        caches(&site)
    );
    let own = ranked(&json_part(&session(&site, &script)));
    assert_eq!(own.len(), 3, "{own:?}");
    let root = run(Command::new(lgss(&site)), &site, &["--user", &site.uid().to_string(), "--json"]);
    let seen: Vec<_> = own.into_iter().filter(|name| !name.starts_with("KEYRING:session")).collect();
    assert_eq!(ranked(&json_part(&root)), seen);
    let told = String::from_utf8(root.stderr).unwrap();
    assert!(told.lines().count() == 1 && told.contains("not shown: KRB5CCNAME"), "{told}");
    let nobody = run(Command::new(lgss(&site)), &site, &["--user", "no-such-user"]);
    assert_eq!(nobody.status.code(), Some(6));
    assert!(lines(&nobody).contains("there is no user no-such-user"), "{nobody:?}");
}

fn nobody_else_sees_them(shared: &Shared) {
    let (site, other) = (Site::new(shared.realm()), Site::new(shared.realm()));
    site.ticket(shared.realm());
    for user in [site.uid().to_string(), "root".to_owned()] {
        let refused = run(command_as(other.uid(), lgss(&site)), &site, &["--user", &user]);
        assert_eq!(refused.status.code(), Some(6), "{refused:?}");
        assert!(lines(&refused).contains("the rights of root"), "{refused:?}");
    }
    let own = run(command_as(site.uid(), lgss(&site)), &site, &["--json", "--user", &site.uid().to_string()]);
    assert_eq!(ranked(&json_part(&own)), [file(&site.default_cache())]);
}

fn without_a_cache_it_says_what_to_do(shared: &Shared) {
    let site = Site::new(shared.realm());
    // With no ticket to use, a service that cannot be found makes no difference.
    let ask = |words: &[&str]| run(command_as(site.uid(), lgss(&site)), &site, words);
    let output = ask(&["--target", "nfs@absent.invalid"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = lines(&output);
    assert!(text.contains("there is no such cache") && text.contains("get a ticket with kinit"), "{text}");
    let answer = json_part(&ask(&["--json"]));
    assert_eq!((ranked(&answer), answer["error"].is_string()), (vec![], true));
    shared.realm().expired_ticket(site.uid(), &file(&site.default_cache()));
    assert!(lines(&ask(&[])).contains("get a new ticket with kinit"));
}

fn of_root_only_the_default_cache_counts(shared: &Shared) {
    let site = Site::new(shared.realm());
    let (default, named) = (site.path("roots"), site.path("named"));
    site.libdefaults(&format!("default_ccache_name = {}", file(&default)));
    let ask = || {
        let mut command = Command::new(lgss(&site));
        command.args(["caches", "--json", "--config"]).arg(site.path("lgss.toml"));
        command.env("KRB5CCNAME", file(&named)).output().unwrap()
    };
    shared.realm().ticket(0, &file(&named));
    assert_eq!(ask().status.code(), Some(3));
    shared.realm().ticket(0, &file(&default));
    assert_eq!(ranked(&json_part(&ask())), [file(&default)]);
}

/// The user has no keyring.
fn looking_makes_no_keyring_and_asks_no_kdc(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    let requests = || fs::read_to_string(realm.path("kdc.log")).unwrap().lines().count();
    let (before, cache) = (requests(), fs::read(site.default_cache()).unwrap());
    let service = realm.service();
    for words in [&["--target", &service][..], &[]] {
        let own = run(command_as(site.uid(), lgss(&site)), &site, words);
        let roots =
            run(Command::new(lgss(&site)), &site, &[&["--user", &site.uid().to_string()], words].concat());
        assert!(own.status.success() && roots.status.success(), "{own:?} {roots:?}");
    }
    assert_eq!(requests(), before, "a KDC was asked");
    assert_eq!(fs::read(site.default_cache()).unwrap(), cache);
    // The kernel removes a process's keyrings in its own time; a user keyring or a persistent one would stay.
    wait_for("no key of the user's", Duration::from_secs(10), || (keys_of(site.uid()) == 0).then_some(()));
}

fn a_session_that_was_revoked_is_told_and_does_no_harm(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let script = format!(
        "{}; keyctl revoke @s; {} --json",
        kinit(&site, "KEYRING:session:mine", "90m"),
        caches(&site)
    );
    let answer = json_part(&session(&site, &script));
    assert_eq!(ranked(&answer), [file(&site.default_cache())]);
    assert!(reason(&answer, "KEYRING:session").contains("revoked"), "{answer:#}");
}

fn a_file_system_that_does_not_answer_is_passed_over(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let content = fs::read(site.default_cache()).unwrap();
    let fuse = Fuse::mount(&site.mount_point(), site.uid(), content, Silence::Lookups);
    let script = format!("export KRB5CCNAME={}; {} --json", fuse.cache(), caches(&site));
    let answer = json_part(&session(&site, &script));
    assert_eq!(ranked(&answer), [file(&site.default_cache())]);
    assert_eq!(reason(&answer, &fuse.cache()), "its file system does not answer");
}
