//! Keys of the node's keytab: which version and type is used, and what happens where the KDC does not take one.

use crate::support::node::{Ask, Node, entries, false_key, keytab};
use crate::support::shared::Shared;
use std::fs;
use std::path::Path;

crate::trials![
    of_several_key_versions_the_newest_is_used,
    an_old_key_is_refused_by_the_kdc,
    a_wrong_key_is_refused_by_the_kdc,
    a_principal_that_the_kdc_does_not_know_gives_way_to_the_next,
    keys_of_weak_types_are_not_used,
];

fn of_several_key_versions_the_newest_is_used(shared: &Shared) {
    let node = Node::new(shared.realm());
    let (first, second) = (node.keytab_of("host/@H"), node.another_key("host/@H"));
    let both = node.path("both.keytab");
    for order in [[&first, &second], [&second, &first]] {
        fs::write(&both, keytab(&order.map(|file| entries(file)))).unwrap();
        let answer = node.ask(&Ask { roles: "r", keytab: Some(&both), ..Ask::default() });
        assert_eq!(answer.text("basis"), "Keytab");
    }
}

fn an_old_key_is_refused_by_the_kdc(shared: &Shared) {
    let node = Node::new(shared.realm());
    let old = node.keytab_of("host/@H");
    node.another_key("host/@H");
    refused_key(&node, &old, "host/@H");
}

fn a_wrong_key_is_refused_by_the_kdc(shared: &Shared) {
    let node = Node::new(shared.realm());
    node.keytab_of("lustre_mds/@H");
    let wrong = node.path("wrong.keytab");
    let name = format!("lustre_mds/{}@{}", node.host(), node.realm.name());
    fs::write(&wrong, keytab(&[false_key(&name, 2, 18)])).unwrap();
    // The KDC gives a ticket that cannot be decrypted, or first demands proof of the key.
    refused_key(&node, &wrong, "lustre_mds/@H");
    node.realm.administrate(&[format!("modprinc +requires_preauth {name}")]);
    refused_key(&node, &wrong, "lustre_mds/@H");
}

#[track_caller]
fn refused_key(node: &Node<'_>, keytab: &Path, principal: &str) {
    let answer = node.ask(&Ask { roles: "rmo", keytab: Some(keytab), ..Ask::default() });
    let detail = answer.failure("kdc", "keytab_refused");
    assert!(detail.contains(&node.named(principal)) && detail.contains(keytab.to_str().unwrap()), "{detail}");
}

fn a_principal_that_the_kdc_does_not_know_gives_way_to_the_next(shared: &Shared) {
    let node = Node::new(shared.realm());
    let name = format!("lustre_root/{}@{}", node.host(), node.realm.name());
    let (unknown, both) = (false_key(&name, 1, 18), node.path("both.keytab"));
    fs::write(&both, keytab(std::slice::from_ref(&unknown))).unwrap();
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&both), ..Ask::default() });
    let detail = answer.failure("kdc", "keytab_refused");
    assert!(detail.contains(&name) && detail.contains("not found in Kerberos database"), "{detail}");
    fs::write(&both, keytab(&[unknown, entries(&node.keytab_of("host/@H"))])).unwrap();
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&both), ..Ask::default() });
    assert!(answer.text("credential").starts_with("host/"), "{answer:?}");
}

fn keys_of_weak_types_are_not_used(shared: &Shared) {
    let node = Node::new(shared.realm());
    let name = format!("host/{}@{}", node.host(), node.realm.name());
    let (file, good) = (node.path("weak.keytab"), node.keytab_of("host/@H"));
    let weak = [false_key(&name, 9, 23), false_key(&name, 9, 16)];
    fs::write(&file, keytab(&weak)).unwrap();
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&file), ..Ask::default() });
    let detail = answer.failure("credentials", "no_machine_credential");
    assert!(detail.contains(&format!("{name} (key type 23, not permitted)")), "{detail}");
    // Beside a good key they do no harm, even with a newer version number.
    fs::write(&file, keytab(&[weak.concat(), entries(&good)])).unwrap();
    let answer = node.ask(&Ask { roles: "r", keytab: Some(&file), ..Ask::default() });
    assert_eq!(answer.text("basis"), "Keytab");
}
