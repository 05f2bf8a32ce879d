//! Credentials of the node: which principal serves which role, from root's cache, our own cache and the keytab.

use crate::support::node::{Answer, Ask, Node, entries, false_key, keytab};
use crate::support::process::{command, succeed};
use crate::support::realm::Realm;
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use std::fs;
use std::time::Duration;

crate::trials![
    each_principal_in_the_keytab_serves_its_roles_and_no_other,
    each_principal_in_a_cache_serves_its_roles_and_no_other,
    another_nodes_keys_and_missing_host_parts_are_refused,
    what_is_wanted_and_what_is_there_is_told,
    roots_cache_comes_before_ours_and_ours_before_the_keytab,
    what_the_keytab_gave_is_an_own_cache_that_needs_no_kdc,
    a_service_ticket_is_added_to_what_was_in_the_cache,
    addresses_in_a_ticket_are_kept,
    a_ticket_about_to_expire_is_replaced,
    an_expired_ticket_is_told,
    a_postdated_ticket_is_not_used,
    only_the_nodes_realm_counts,
    a_principal_of_the_settings_is_the_only_one,
    broken_caches_and_keytabs_are_told_and_passed_over,
    without_a_realm_the_configuration_is_at_fault,
    a_kdc_that_is_down_is_told,
];

const ROLES: [&str; 4] = ["r", "m", "o", "rmo"];
const PRINCIPALS: [(&str, &[&str]); 6] = [
    ("lustre_root/@H", &["r", "rmo"]),
    ("host/@H", &["r", "rmo"]),
    ("lustre_mds/@H", &["m", "rmo"]),
    ("lustre_oss/@H", &["o", "rmo"]),
    ("lustre_mgs/@H", &["r", "m", "o", "rmo"]),
    // A role may be any word; no other test uses this one.
    ("lustre_role/of-@H", &["r", "rmo"]),
];

fn each_principal_in_the_keytab_serves_its_roles_and_no_other(shared: &Shared) {
    let node = Node::new(shared.realm());
    for (principal, served) in PRINCIPALS {
        let keytab = node.keytab_of(principal);
        for roles in ROLES {
            let answer = node.ask(&Ask { roles, keytab: Some(&keytab), ..Ask::default() });
            expect(&node, &answer, principal, served.contains(&roles).then_some("Keytab"));
        }
    }
}

fn each_principal_in_a_cache_serves_its_roles_and_no_other(shared: &Shared) {
    let node = Node::new(shared.realm());
    for (principal, served) in PRINCIPALS {
        let cache = node.cache(principal, &node.keytab_of(principal), &[]);
        for roles in ROLES {
            let answer = node.ask(&Ask { roles, default_cache: Some(&cache), ..Ask::default() });
            expect(&node, &answer, principal, served.contains(&roles).then_some("DefaultCache"));
        }
    }
}

/// The answer is an account of this principal with this basis, or a refusal that names the principal.
#[track_caller]
fn expect(node: &Node<'_>, answer: &Answer, principal: &str, basis: Option<&str>) {
    let name = format!("{}@{}", node.named(principal), node.realm.name());
    if let Some(basis) = basis {
        assert_eq!(answer.text("basis"), basis, "{principal}");
        assert!(answer.text("credential").starts_with(&name), "{principal}: {answer:?}");
    } else {
        let detail = answer.failure("credentials", "no_machine_credential");
        assert!(detail.contains(&name), "{principal}: {detail}");
    }
}

fn another_nodes_keys_and_missing_host_parts_are_refused(shared: &Shared) {
    let node = Node::new(shared.realm());
    let realm = node.realm.name();
    for principal in ["host/x@H", "lustre_root/x@H", "lustre_mgs/x@H", "host/@H/x"] {
        let keytab = node.keytab_of(principal);
        let answer = node.ask(&Ask { roles: "rmo", keytab: Some(&keytab), ..Ask::default() });
        let detail = answer.failure("credentials", "no_machine_credential");
        assert!(detail.contains(&format!("{}@{realm}", node.named(principal))), "{detail}");
    }
    // A principal without a host part serves only as a client's root. The refusal needs no KDC.
    let file = node.path("bare.keytab");
    for (principal, roles) in
        [("lustre_root", "rmo"), ("host", "r"), ("lustre_mds", "m"), ("lustre_mgs", "o")]
    {
        fs::write(&file, keytab(&[false_key(&format!("{principal}@{realm}"), 1, 18)])).unwrap();
        let answer = node.ask(&Ask { roles, keytab: Some(&file), ..Ask::default() });
        answer.failure("credentials", "no_machine_credential");
    }
    fs::write(&file, keytab(&[false_key(&format!("lustre_root@{realm}"), 1, 18)])).unwrap();
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&file), ..Ask::default() });
    answer.failure("kdc", "keytab_refused");
}

fn what_is_wanted_and_what_is_there_is_told(shared: &Shared) {
    let node = Node::new(shared.realm());
    let (realm, host) = (node.realm.name(), node.host());
    let root = node.keytab_of("lustre_root/@H");
    let cache = node.cache("lustre_root/@H", &root, &[]);
    let missing = node.path("missing.cache");
    let many: Vec<_> = (0..9).map(|n| false_key(&format!("nfs/n{n}@{realm}"), 1, 18)).collect();
    let other = node.path("other.keytab");
    fs::write(&other, keytab(&many)).unwrap();
    let answer = node.ask(&Ask {
        roles: "m",
        default_cache: Some(&cache),
        own_cache: Some(&missing),
        keytab: Some(&other),
        ..Ask::default()
    });
    let detail = answer.failure("credentials", "no_machine_credential");
    for part in [
        format!("wanted lustre_mds/HOST, or lustre_mgs/HOST, HOST {host}, realm {realm}; "),
        format!("{}: lustre_root/{host}@{realm}; ", cache.display()),
        format!("{}: No such file", missing.display()),
        format!("{}: nfs/n0@{realm}, ", other.display()),
        "and 5 more".to_owned(),
    ] {
        assert!(detail.contains(&part), "lacks {part:?}: {detail}");
    }
}

fn roots_cache_comes_before_ours_and_ours_before_the_keytab(shared: &Shared) {
    let node = Node::new(shared.realm());
    let keytab = node.keytab_of("lustre_root/@H");
    let cache = node.cache("lustre_root/@H", &keytab, &[]);
    let anothers = node.cache("lustre_oss/@H", &node.keytab_of("lustre_oss/@H"), &[]);
    let all = Ask {
        roles: "r",
        default_cache: Some(&cache),
        own_cache: Some(&cache),
        keytab: Some(&keytab),
        ..Ask::default()
    };
    assert_eq!(node.ask(&all).text("basis"), "DefaultCache");
    let own = Ask { default_cache: Some(&anothers), ..all.clone() };
    assert_eq!(node.ask(&own).text("basis"), "OwnCache");
    let none = Ask { own_cache: Some(&anothers), ..own };
    assert_eq!(node.ask(&none).text("basis"), "Keytab");
    // The keytab's order counts, except that the principal for all roles comes last.
    let several = node.path("several.keytab");
    let mgs = node.keytab_of("lustre_mgs/@H");
    let host = node.keytab_of("host/@H");
    fs::write(&several, self::keytab(&[entries(&mgs), entries(&host), entries(&keytab)])).unwrap();
    let answer = node.ask(&Ask { roles: "rmo", keytab: Some(&several), ..Ask::default() });
    assert!(answer.text("credential").starts_with(&format!("host/{}@", node.host())), "{answer:?}");
}

fn what_the_keytab_gave_is_an_own_cache_that_needs_no_kdc(shared: &Shared) {
    let node = Node::new(shared.realm());
    let keytab = node.keytab_of("host/@H");
    let service = shared.realm().service();
    let services = [service.clone()];
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&keytab), services: &services, ..Ask::default() });
    let own = node.path("own.cache");
    fs::write(&own, answer.update().unwrap()).unwrap();
    let (realm, nfs) = (node.realm.name(), service.replace('@', "/"));
    let listed = node.klist(&own);
    for part in [
        format!("Default principal: host/{}@{realm}", node.host()),
        format!("krbtgt/{realm}@{realm}"),
        format!("{nfs}@"),
        "aes256-cts-hmac-sha1-96".to_owned(),
    ] {
        assert!(listed.contains(&part), "lacks {part}: {listed}");
    }
    // Nothing is ever delegated.
    assert!(!listed.contains("Flags: F"), "{listed}");

    node.configure(&node.realm.krb5_conf_by(1));
    let again = node.ask(&Ask { roles: "r", own_cache: Some(&own), services: &services, ..Ask::default() });
    assert_eq!(again.text("basis"), "OwnCache");
    assert!(again.tickets()[0].starts_with(&nfs), "{again:?}");
    assert_eq!(again.update(), None);
}

fn a_service_ticket_is_added_to_what_was_in_the_cache(shared: &Shared) {
    let node = Node::new(shared.realm());
    let cache = node.cache("host/@H", &node.keytab_of("host/@H"), &[]);
    let before = fs::read(&cache).unwrap();
    let services = [shared.realm().service()];
    let answer =
        node.ask(&Ask { roles: "r", default_cache: Some(&cache), services: &services, ..Ask::default() });
    let update = answer.update().unwrap();
    assert_eq!(answer.text("basis"), "DefaultCache");
    // After the header the update equals what the library wrote, byte for byte, followed by the new ticket.
    let header = 4 + usize::from(u16::from_be_bytes([before[2], before[3]]));
    assert!(before[header..].len() > 300 && update[..4] == [5, 4, 0, 0]);
    assert!(update[4..].starts_with(&before[header..]), "another form than the library's");
    assert!(update.len() > 4 + before.len() - header + 300);
    assert_eq!(fs::read(&cache).unwrap(), before);
    let without = node.ask(&Ask { roles: "r", default_cache: Some(&cache), ..Ask::default() });
    assert_eq!(without.update(), None);
}

fn addresses_in_a_ticket_are_kept(shared: &Shared) {
    let node = Node::new(shared.realm());
    let keytab = node.keytab_of("host/@H");
    let with_addresses = "[libdefaults]\n noaddresses = false\n extra_addresses = 192.0.2.77\n";
    node.configure(&node.realm.krb5_conf().replace("[libdefaults]\n", with_addresses));
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&keytab), ..Ask::default() });
    let cache = node.path("addresses.cache");
    fs::write(&cache, answer.update().unwrap()).unwrap();
    let mut klist = command("klist");
    let listed = succeed(klist.args(["-a", "-n", "-c"]).arg(&cache), "");
    assert!(listed.contains("192.0.2.77"), "{listed}");
    let copied = node.ask(&Ask { roles: "r", own_cache: Some(&cache), ..Ask::default() });
    assert_eq!(copied.text("basis"), "OwnCache");
}

fn a_ticket_about_to_expire_is_replaced(shared: &Shared) {
    let node = Node::new(shared.realm());
    let keytab = node.keytab_of("host/@H");
    let cache = node.cache("host/@H", &keytab, &["-l", "24s"]);
    let asked =
        || node.ask(&Ask { roles: "r", own_cache: Some(&cache), keytab: Some(&keytab), ..Ask::default() });
    assert_eq!(asked().text("basis"), "OwnCache");
    let answer = wait_for("the last quarter", Duration::from_secs(60), || {
        Some(asked()).filter(|answer| answer.text("basis") == "Keytab")
    });
    let fresh = node.path("fresh.cache");
    fs::write(&fresh, answer.update().unwrap()).unwrap();
    // The old ticket was replaced while it was still valid.
    let mut old = command("klist");
    assert!(old.args(["-s", "-c"]).arg(&cache).status().unwrap().success());
    let answer = node.ask(&Ask { roles: "r", own_cache: Some(&fresh), ..Ask::default() });
    assert_eq!(answer.text("basis"), "OwnCache");
}

fn an_expired_ticket_is_told(shared: &Shared) {
    let node = Node::new(shared.realm());
    let cache = node.cache("host/@H", &node.keytab_of("host/@H"), &["-l", "1s"]);
    let detail = wait_for("the ticket to expire", Duration::from_secs(20), || {
        let answer = node.ask(&Ask { roles: "r", own_cache: Some(&cache), ..Ask::default() });
        let failure =
            (!answer.succeeded()).then(|| answer.failure("credentials", "no_machine_credential").to_owned());
        failure.filter(|detail| !detail.contains("left"))
    });
    assert!(detail.contains("the ticket expired"), "{detail}");
}

fn a_postdated_ticket_is_not_used(shared: &Shared) {
    let node = Node::new(shared.realm());
    let keytab = node.keytab_of("host/@H");
    let cache = node.cache("host/@H", &keytab, &["-s", "1h"]);
    let answer = node.ask(&Ask { roles: "r", default_cache: Some(&cache), ..Ask::default() });
    let detail = answer.failure("credentials", "no_machine_credential");
    assert!(detail.contains("postdated"), "{detail}");
}

fn only_the_nodes_realm_counts(shared: &Shared) {
    let node = Node::new(shared.realm());
    let (realm, host) = (node.realm.name(), node.host());
    let ours = node.keytab_of("lustre_root/@H");
    let cache = node.cache("lustre_root/@H", &ours, &[]);
    let both = node.path("both.keytab");
    let others = [false_key(&format!("lustre_root/{host}@OTHER.TEST"), 9, 18), entries(&ours)];
    fs::write(&both, keytab(&others)).unwrap();
    let ask = Ask { roles: "r", keytab: Some(&both), ..Ask::default() };
    let ours = format!("lustre_root/{host}@{realm}");
    for named in [None, Some(realm.as_str())] {
        assert!(node.ask(&Ask { realm: named, ..ask.clone() }).text("credential").starts_with(&ours));
    }
    // The KDC of this realm is unknown, and the keytab's other key is tried.
    let other = node.ask(&Ask { realm: Some("OTHER.TEST"), default_cache: Some(&cache), ..ask });
    let detail = other.failure("kdc", "unknown_realm");
    assert!(detail.contains(&format!("lustre_root/{host}@OTHER.TEST")), "{detail}");
    let none = node.ask(&Ask {
        roles: "r",
        realm: Some("THIRD.TEST"),
        default_cache: Some(&cache),
        ..Ask::default()
    });
    let detail = none.failure("credentials", "no_machine_credential");
    assert!(detail.contains("realm THIRD.TEST") && detail.contains(&ours), "{detail}");
}

fn a_principal_of_the_settings_is_the_only_one(shared: &Shared) {
    let node = Node::new(shared.realm());
    let both = node.path("both.keytab");
    let (root, own) = (node.keytab_of("lustre_root/@H"), node.keytab_of("own/@H"));
    fs::write(&both, keytab(&[entries(&root), entries(&own)])).unwrap();
    let (name, realm) = (node.named("own/@H"), node.realm.name());
    let ask = Ask { roles: "r", keytab: Some(&both), principal: Some(&name), ..Ask::default() };
    assert!(node.ask(&ask).text("credential").starts_with(&format!("{name}@{realm}")));
    let full = format!("{name}@{realm}");
    let with_realm = Ask { principal: Some(&full), realm: Some("OTHER.TEST"), ..ask.clone() };
    assert!(node.ask(&with_realm).text("credential").starts_with(&full));
    // A server is what its role says.
    let server = node.ask(&Ask { roles: "rmo", ..ask });
    assert!(server.text("credential").starts_with("lustre_root/"), "{server:?}");
    let missing =
        node.ask(&Ask { roles: "r", keytab: Some(&root), principal: Some(&name), ..Ask::default() });
    let detail = missing.failure("credentials", "no_machine_credential");
    assert!(detail.contains(&format!("wanted {full};")), "{detail}");
}

fn broken_caches_and_keytabs_are_told_and_passed_over(shared: &Shared) {
    let node = Node::new(shared.realm());
    let good = node.keytab_of("host/@H");
    let cache = node.cache("host/@H", &good, &[]);
    let whole = fs::read(&cache).unwrap();
    let file = node.path("broken");
    let (name, none) = (file.display().to_string(), Vec::new());
    for broken in [none.clone(), b"garbage".to_vec(), whole[..whole.len() / 2].to_vec(), whole[..20].to_vec()]
    {
        fs::write(&file, &broken).unwrap();
        let ask = Ask { roles: "r", default_cache: Some(&file), own_cache: Some(&file), ..Ask::default() };
        let answer = node.ask(&Ask { keytab: Some(&good), ..ask.clone() });
        assert_eq!(answer.text("basis"), "Keytab");
        let detail = node.ask(&ask).failure("credentials", "no_machine_credential").to_owned();
        assert!(detail.contains(&format!("{name}: ")) && !detail.contains("/proc/self"), "{detail}");
    }
    let whole = fs::read(&good).unwrap();
    for broken in
        [none, b"garbage".to_vec(), whole[..2].to_vec(), whole[..40].to_vec(), vec![5, 2, 127, 255, 255, 255]]
    {
        fs::write(&file, &broken).unwrap();
        let answer = node.ask(&Ask { roles: "r", keytab: Some(&file), ..Ask::default() });
        let detail = answer.failure("credentials", "no_machine_credential");
        assert!(detail.contains(&format!("{name}: ")) && !detail.contains("/proc/self"), "{detail}");
    }
}

fn without_a_realm_the_configuration_is_at_fault(shared: &Shared) {
    let node = Node::new(shared.realm());
    let keytab = node.keytab_of("host/@H");
    let realm = node.realm.name();
    node.configure(&node.realm.krb5_conf().replace(&format!("default_realm = {realm}"), ""));
    let ask = Ask { roles: "r", keytab: Some(&keytab), ..Ask::default() };
    let answer = node.ask(&ask);
    assert!(answer.failure("credentials", "setup").contains("realm"), "{answer:?}");
    assert_eq!(node.ask(&Ask { realm: Some(&realm), ..ask }).text("basis"), "Keytab");
}

fn a_kdc_that_is_down_is_told(_: &Shared) {
    let mut realm = Realm::start();
    let keytab = Node::new(&realm).keytab_of("lustre_root/elsewhere");
    assert!(!keytab.exists());
    realm.stop();
    let node = Node::new(&realm);
    let file = node.path("down.keytab");
    let name = format!("host/{}@{}", node.host(), realm.name());
    fs::write(&file, self::keytab(&[false_key(&name, 1, 18)])).unwrap();
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&file), ..Ask::default() });
    let detail = answer.failure("kdc", "kdc_down");
    assert!(detail.contains(&name) && detail.contains(file.to_str().unwrap()), "{detail}");
}
