use super::*;
use crate::selftest::finding::Severity;
use std::fs;
use tempfile::TempDir;

/// Our rule, with a program that exists and is root's.
fn ours() -> (&'static str, String) {
    ("request-key.d/lgss.conf", OURS.replace("/usr/sbin/lgss_keyring", "/x/lgss_keyring") + "\n")
}

/// Errors and warnings, without those about the program, which these directories do not have.
fn found(files: &[(&str, &str)]) -> Vec<(Severity, String)> {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("etc/request-key.d")).unwrap();
    for (name, text) in files {
        let file = root.path().join("etc").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let prefix = format!("{}/etc/", root.path().display());
    inspect(root.path())
        .findings
        .into_iter()
        .filter(|finding| finding.severity != Severity::Ok && !finding.finding.contains("No such file"))
        .map(|finding| (finding.severity, finding.finding.replace(&prefix, "")))
        .collect()
}

#[track_caller]
fn is(files: &[(&str, &str)], severity: Severity, part: &str) {
    let found = found(files);
    assert!(
        found.iter().any(|(found, text)| *found == severity && text.contains(part)),
        "{found:?} lacks {part}"
    );
}

#[test]
fn our_rule_alone_or_beside_those_of_others_is_fine() {
    let (name, rule) = ours();
    let others = "create dns_resolver * * /sbin/key.dns_resolver %k\ncreate user debug:* * /bin/x\nnegate * * * /bin/keyctl negate %k 30 %S\ncreate * * * /bin/y\n";
    assert_eq!(found(&[(name, &rule)]), []);
    assert_eq!(found(&[(name, &rule), ("request-key.conf", others)]), []);
}

#[test]
fn a_missing_rule_and_one_of_somebody_else_are_errors() {
    is(&[], Severity::Error, "no rule answers");
    is(
        &[("request-key.conf", "create user * * /bin/other %k\n")],
        Severity::Error,
        "request-key.conf:1: requests of * start /bin/other %k",
    );
}

#[test]
fn rules_for_some_users_only_are_no_error() {
    let (_, rule) = ours();
    let mine = rule.replace("lgss:*", "lgss:1000:*");
    let found = found(&[
        ("request-key.d/lgss-alice.conf", &mine),
        ("request-key.conf", "create user debug:* * /bin/x\n"),
    ]);
    assert!(
        matches!(found.as_slice(), [(Severity::Warning, text)] if text.contains("our rules answer only some of them")),
        "{found:?}"
    );
    // Rules for Lustre alone serve no programs.
    is(
        &[("request-key.d/lgssc.conf", &format!("{LUSTRES}\n"))],
        Severity::Warning,
        "no rule answers programs' requests",
    );
}

#[test]
fn a_more_specific_rule_of_another_package_is_an_error_that_names_it() {
    let (name, rule) = ours();
    for other in [
        "create user lgss:1000:* * /bin/other",
        "create user lgss:0:nfs@h * /bin/other",
        "create user lgss:* lgss1;* /bin/other",
        "create user *:nfs@host.example.com * /bin/other",
        "create user *@host.example.com * /bin/other",
        "create user lgss:self* * /bin/other",
    ] {
        is(
            &[(name, &rule), ("request-key.conf", &format!("{other}\n"))],
            Severity::Error,
            "request-key.conf:1: requests of",
        );
    }
    for harmless in [
        "create user lgss:debug* * /bin/other",
        "create user lgs* * /bin/other",
        "create * lgss:1000:* * /bin/other",
        "create user lgss:* cifs* /bin/other",
        "negate user lgss:1* * /bin/other",
    ] {
        assert_eq!(found(&[(name, &rule), ("request-key.conf", &format!("{harmless}\n"))]), [], "{harmless}");
    }
}

#[test]
fn a_special_rule_of_ours_is_checked_as_well() {
    let (name, rule) = ours();
    let special = "create user lgss:1000:* * /x/lgss_keyring --config /etc/other.toml %o %k\n";
    is(&[(name, &rule), ("request-key.conf", special)], Severity::Error, "request-key.conf:1: the arguments");
}

#[test]
fn words_and_options_of_our_rule_are_checked() {
    let (name, rule) = ours();
    let changed = |from: &str, to: &str| vec![(name, rule.replace(from, to))];
    for (files, part) in [
        (changed(" %S", ""), "the arguments"),
        (changed(" %k", " %d"), "the arguments"),
        (changed("%S\n", "%S"), "loses its last character"),
        (changed("keyring %o", "keyring --shell %o"), "no option --shell"),
        (changed("/x/", "|/x/"), "pipe"),
    ] {
        let found = found(&[(files[0].0, &files[0].1)]);
        assert!(found.iter().any(|(_, text)| text.contains(part)), "{found:?} lacks {part}");
    }
    let (_, options) = &changed("keyring %o", "keyring --config /c -R X %o")[0];
    assert_eq!(found(&[(name, options)]), []);
}

#[test]
fn a_line_of_ours_for_another_operation_than_create_is_an_error_whatever_else_there_is() {
    let (name, rule) = ours();
    for operation in ["creat", "crea", "created", "Create", "negate", "update"] {
        let slip = rule.replace("create", operation);
        let part = format!("request-key.conf:2: operation \"{operation}\" is not create");
        let file = ("request-key.conf", &*format!("# ours\n{slip}"));
        is(&[file], Severity::Error, &part);
        is(&[file], Severity::Error, "no rule answers context requests");
        is(&[(name, &rule), file], Severity::Error, &part);
    }
    for wildcard in ["*", "cr*", "create*"] {
        assert_eq!(found(&[(name, &rule.replace("create", wildcard))]), [], "{wildcard}");
    }
}

#[test]
fn a_line_of_ours_that_no_request_reaches_is_named_beside_good_rules_as_well() {
    let (name, rule) = ours();
    let mine = rule.replace("lgss:*", "lgss:1000:*");
    for (from, to, why) in [
        ("user", "usr", "type \"usr\""),
        ("user lgss:*", "lgsc *", "type \"lgsc\""),
        ("lgss:*", "lgs:*", "description \"lgs:*\""),
        ("user", "lgssc", "description \"lgss:*\""),
        ("lgss:* *", "lgss:* lgss2;*", "callout \"lgss2;*\""),
        ("lgss:* *", "lgss:*", "the program is in column 4 instead of 5"),
        ("create user", "user", "the program is in column 4 instead of 5"),
        ("create user", " create user", "it starts with a blank, which makes it a comment"),
    ] {
        let slip = rule.replace(from, to);
        let part = format!("request-key.conf:1: starts lgss_keyring, but no request reaches it: {why}");
        let file = ("request-key.conf", &*slip);
        is(&[file], Severity::Error, &part);
        is(&[("request-key.d/mine.conf", &mine), file], Severity::Error, &part);
        let found = found(&[(name, &rule), file]);
        assert!(matches!(found.as_slice(), [(Severity::Warning, text)] if *text == part), "{found:?}");
    }
    let bare = "create user lgss:* /x/lgss_keyring\n";
    let found = found(&[(name, &rule), ("request-key.conf", bare)]);
    assert!(found.iter().all(|(_, text)| text.contains("not a rule that request-key can read")), "{found:?}");
    assert!(!found.is_empty());
}

#[test]
fn a_program_of_a_rule_is_named_with_its_place() {
    let (name, rule) = ours();
    is(
        &[(name, &rule.replace("/x/", ""))],
        Severity::Error,
        "request-key.d/lgss.conf:1: lgss_keyring is not an absolute path",
    );
    let lustres = LUSTRES.replace("/usr/sbin/", "sbin/") + "\n";
    is(
        &[(name, &rule), ("request-key.d/lgssc.conf", &lustres)],
        Severity::Error,
        "request-key.d/lgssc.conf:1: sbin/lgss_keyring is not an absolute path",
    );
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("etc/request-key.d")).unwrap();
    fs::write(root.path().join("etc").join(name), rule.replace("/x/", "")).unwrap();
    let findings = inspect(root.path()).findings;
    let remedy = findings.iter().find(|finding| finding.finding.contains("absolute")).unwrap().remedy.clone();
    assert_eq!(remedy.unwrap(), "write its whole path, such as /usr/sbin/lgss_keyring");
}

#[test]
fn a_line_that_request_key_cannot_read_is_an_error_wherever_it_stands() {
    let (name, rule) = ours();
    is(&[(name, &rule), ("request-key.d/z.conf", "create\n")], Severity::Error, "z.conf:1: not a rule");
    is(&[(name, &rule), ("request-key.conf", &format!("#{:4096}\n", ""))], Severity::Error, "too long");
}

#[test]
fn two_rules_of_one_rank_in_the_directory_are_left_to_chance() {
    let (name, rule) = ours();
    let other = rule.replace("/x/", "/y/");
    is(&[(name, &rule), ("request-key.d/z.conf", &other)], Severity::Warning, "ranks as high");
    assert_eq!(found(&[(name, &rule), ("request-key.conf", &other)]), [], "the directory is read first");
}

#[test]
fn the_rule_of_lustre_is_checked_where_lustre_is_or_where_it_names_us() {
    let (name, rule) = ours();
    let lustres = ("request-key.d/lgssc.conf", "create lgssc * * /x/lgss_keyring -R REALM %o %k %t %d %c\n");
    is(&[(name, &rule), lustres], Severity::Error, "lgssc.conf:1: the arguments are not those");
    assert_eq!(found(&[(name, &rule)]), [], "without Lustre there need be no rule");
    let modules = ("../sys/fs/lustre/timeout", "100");
    is(&[(name, &rule), modules], Severity::Error, "no rule answers requests of Lustre");
    let other = ("request-key.d/lgssc.conf", "create lgssc * * /bin/other %k\n");
    is(&[(name, &rule), modules, other], Severity::Warning, "requests of Lustre start /bin/other %k");
    let whole = ("request-key.d/lgssc.conf", &*LUSTRES.replace("/usr/sbin", "/x"));
    assert_eq!(found(&[(name, &rule), modules, (whole.0, &format!("{}\n", whole.1))]), []);
}

#[test]
fn a_rule_for_one_user_or_one_service_says_by_which_settings_these_are_served() {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("etc/request-key.d")).unwrap();
    let rule = |description: &str, settings: &str| {
        OURS.replace("lgss:*", description).replace("%o", &format!("--config {settings} %o")) + "\n"
    };
    let rules = rule("lgss:1000:*", "/a") + &rule("lgss:1001:nfs@*", "/b") + &rule("lgss:*", "/c");
    fs::write(root.path().join("etc/request-key.d/lgss.conf"), rules).unwrap();
    let nfs = "nfs@host.example".parse().unwrap();
    for (owner, service, settings) in [
        (1000, None, "/a"),
        (1000, Some(&nfs), "/a"),
        (1001, None, "/c"),
        (1001, Some(&nfs), "/b"),
        (1002, Some(&nfs), "/c"),
    ] {
        assert_eq!(settings_of(root.path(), owner, service), Some(Some(settings.into())), "{owner}");
    }
    assert_eq!(settings_of(&root.path().join("none"), 1000, None), None);
}
