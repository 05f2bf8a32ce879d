use super::*;
use crate::cli::config::rules::Rules;
use std::fs;
use tempfile::TempDir;

/// Findings about lines that start the program after these columns.
fn found(columns: &[&str]) -> Vec<String> {
    let lines: String = columns.iter().map(|columns| format!("{columns} /x/lgss_keyring %o %k\n")).collect();
    of(&lines)
}

fn of(lines: &str) -> Vec<String> {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/request-key.conf"), lines).unwrap();
    let findings = findings(&Rules::read(root.path()), Severity::Warning, &[]);
    findings.into_iter().map(|finding| finding.finding).collect()
}

#[test]
fn rules_for_some_requests_only_live() {
    let live = [
        "create user lgss:1000:* *",
        "create user lgss:1* *",
        "create user lgss:0* *",
        "create user lgss:self:* *",
        "create user lgss:se* *",
        "create user lgss:1000:cifs@* *",
        "create user lgss:1000:cifs@server.example.com *",
        "create user lgss:1000:cifs@server.example.com:two *",
        "create user lgss:1000:nfs@h:* *",
        "create user *@server.example.com *",
        "create user *:two *",
        "create user * *",
        "create user l* *",
        "create user lgss* *",
        "create user lgss:* lgss1;*",
        "create user lgss:* lg*",
        "create user lgss:* *;x",
        "create user lgss:* lgss1;svc=nfs@h;chan=rpc:h:1,1,1",
        "create us* lgss:1000:* *",
        "create * * *",
        "* * * *",
        "create lgssc * *",
        "create lgssc 1000@* *",
        "create lgssc 0@4 *",
        "create lgssc *@a *",
        "create lgssc * 0:krb5:*",
        "create lgss* * *",
        "create * 0@* *",
    ];
    assert_eq!(found(&live), Vec::<String>::new());
}

#[test]
fn patterns_outside_every_requests_grammar_are_dead() {
    for (columns, why) in [
        ("create user lgs:* *", "description \"lgs:*\""),
        ("create user lgss *", "description \"lgss\""),
        ("create user lgss: *", "description \"lgss:\""),
        ("create user lgss:01* *", "description \"lgss:01*\""),
        ("create user lgss:alice:* *", "description \"lgss:alice:*\""),
        ("create user lgss:1000:nfs *", "description \"lgss:1000:nfs\""),
        ("create user 0@* *", "description \"0@*\""),
        ("create lgssc lgss:* *", "description \"lgss:*\""),
        ("create lgssc root@* *", "description \"root@*\""),
        ("create users lgss:* *", "type \"users\""),
        ("create lgss lgss:* *", "type \"lgss\""),
        ("create User lgss:* *", "type \"User\""),
        ("create user lgss:* svc=*", "callout \"svc=*\""),
        ("create user lgss:* lgss1", "callout \"lgss1\""),
        ("create", "column 2 instead of 5"),
        ("create user", "column 3 instead of 5"),
        ("create lgss:* *", "column 4 instead of 5"),
        ("create lgssc *", "column 4 instead of 5"),
    ] {
        let found = found(&[columns]);
        assert!(matches!(found.as_slice(), [text] if text.ends_with(why)), "{columns}: {found:?}");
    }
}

#[test]
fn lines_of_others_and_comments_are_none_of_ours() {
    let others = "create keyring lgss_keyring * /bin/x %k\n\
        creat user lgss:* * /bin/x %k\n\
        create usr lgs:* * /usr/sbin/lgss_keyring.old %k\n\
        # creat user lgss:* * /usr/sbin/lgss_keyring %o %k\n\
        \x20 this line is about the program lgss_keyring\n\
        \x20\n\n";
    assert_eq!(of(others), Vec::<String>::new());
    let piped = of("creat user lgss:* * |/usr/sbin/lgss_keyring %o %k\n");
    assert!(
        matches!(piped.as_slice(), [text] if text.ends_with("operation \"creat\" is not create")),
        "{piped:?}"
    );
}
