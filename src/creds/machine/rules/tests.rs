use super::*;

fn acceptable(letters: &str) -> Acceptable {
    let has = |letter| letters.contains(letter);
    Acceptable {
        realm: "R".into(),
        roles: Roles { root: has('r'), mdt: has('m'), ost: has('o') },
        host: Some("node1.example.com".into()),
        only: None,
    }
}

fn name(text: &str) -> Name {
    let (name, realm) = text.split_once('@').unwrap_or((text, "R"));
    Name { realm: realm.into(), components: name.split('/').map(str::to_owned).collect() }
}

/// All combinations of role letters with which a principal is accepted.
fn accepted_with(principal: &str) -> Vec<&'static str> {
    let all = ["", "r", "m", "o", "rm", "ro", "mo", "rmo"];
    all.into_iter().filter(|letters| acceptable(letters).accepts(&name(principal))).collect()
}

#[test]
fn every_principal_serves_its_roles_and_no_other() {
    for principal in ["lustre_root/node1.example.com", "host/node1.example.com", "lustre_role/backup"] {
        assert_eq!(accepted_with(principal), ["r", "rm", "ro", "rmo"], "{principal}");
    }
    assert_eq!(accepted_with("lustre_root"), ["r"]);
    assert_eq!(accepted_with("lustre_mds/node1.example.com"), ["m", "rm", "mo", "rmo"]);
    assert_eq!(accepted_with("lustre_oss/node1.example.com"), ["o", "ro", "mo", "rmo"]);
    assert_eq!(accepted_with("lustre_mgs/node1.example.com"), ["r", "m", "o", "rm", "ro", "mo", "rmo"]);
}

#[test]
fn a_principal_must_name_this_node_whatever_the_case() {
    assert_eq!(accepted_with("lustre_root/Node1.Example.COM"), ["r", "rm", "ro", "rmo"]);
    for service in ["lustre_root", "host", "lustre_mds", "lustre_oss", "lustre_mgs"] {
        for host in ["node2.example.com", "node1", "", "node1.example.com/x", "node1.example.com."] {
            assert!(accepted_with(&format!("{service}/{host}")).is_empty(), "{service}/{host}");
        }
        if service != "lustre_root" {
            assert!(accepted_with(service).is_empty(), "{service}");
        }
    }
    assert!(accepted_with("lustre_role").is_empty());
}

#[test]
fn other_principals_and_other_realms_are_not_accepted() {
    for principal in [
        "root",
        "alice",
        "nfs/node1.example.com",
        "lustre_rootx",
        "LUSTRE_ROOT",
        "lustre_root@S",
        "host/node1.example.com@r",
        "lustre_role/backup@S",
        "lustre_mgs/node1.example.com@S",
    ] {
        assert!(accepted_with(principal).is_empty(), "{principal}");
    }
}

#[test]
fn a_principal_of_the_settings_is_the_only_one() {
    let only = Acceptable { only: Some(name("fast/anything@S")), ..acceptable("r") };
    assert!(only.accepts(&name("fast/anything@S")));
    for other in ["fast/anything", "lustre_root", "lustre_mgs/node1.example.com"] {
        assert!(!only.accepts(&name(other)), "{other}");
    }
    assert_eq!(only.to_string(), "fast/anything@S");
}

#[test]
fn what_is_wanted_is_said_in_full() {
    let said = acceptable("r").to_string();
    let expected = "lustre_root[/HOST], host/HOST, lustre_role/ROLE, or lustre_mgs/HOST, HOST node1.example.com, realm R";
    assert_eq!(said, expected);
    assert!(
        acceptable("rmo")
            .to_string()
            .starts_with("lustre_root/HOST, host/HOST, lustre_role/ROLE, lustre_mds/")
    );
}

#[test]
fn a_ticket_is_good_if_it_has_begun_and_has_enough_left() {
    let ticket = |start, end| Granting { start, end, enctype: 18, invalid: false, renew_until: None };
    let now = 100_000;
    // A day: 30 minutes must be left.
    assert!(good(ticket(50_000, 101_801), now).is_ok());
    assert_eq!(good(ticket(50_000, 101_800), now), Err("the ticket has only 30 min left".into()));
    // An hour: a quarter of that.
    assert!(good(ticket(97_301, 100_901), now).is_ok());
    assert!(good(ticket(97_300, 100_900), now).is_err());
    assert_eq!(good(ticket(90_000, 100_000), now), Err("the ticket expired 0 s ago".into()));
    assert_eq!(good(ticket(100_001, 200_000), now), Err("the ticket becomes valid in 1 s".into()));
    assert!(good(ticket(100_000, 200_000), now).is_ok());
    let postdated = Granting { invalid: true, ..ticket(50_000, 200_000) };
    assert!(good(postdated, now).unwrap_err().contains("postdated"));
    let weak = Granting { enctype: 23, ..ticket(50_000, 200_000) };
    assert!(good(weak, now).unwrap_err().contains("type 23"));
    // Nonsense does not overflow.
    assert!(good(ticket(u32::MAX, 0), now).is_err());
}

#[test]
fn what_this_node_is_called_matters_for_principals_of_a_host_only() {
    let anywhere = Acceptable { host: None, ..acceptable("r") };
    assert_eq!(anywhere.host_of(&name("host/Node1.Example.com")).as_deref(), Some("node1.example.com"));
    for other in
        ["lustre_root", "lustre_role/backup", "nfs/node1.example.com", "lustre_mds/node1.example.com"]
    {
        assert_eq!(anywhere.host_of(&name(other)), None, "{other}");
    }
    let only = Acceptable { only: Some(name("host/node1")), ..anywhere };
    assert_eq!(only.host_of(&name("host/node1")), None);
}
