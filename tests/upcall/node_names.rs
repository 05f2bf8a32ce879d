//! Host names of network identifiers, by the C library's resolver and by a site's program, as the system user.

use crate::support::node::{Answer, Node};
use crate::support::shared::Shared;
use crate::support::site::install_content;
use serde_json::json;
use std::path::Path;

crate::trials![
    an_address_has_the_name_of_the_hosts_file,
    a_hooks_name_for_an_address_must_have_it,
    this_node_has_its_name_in_full,
    the_sites_program_has_no_rights,
    a_program_that_only_root_may_run_is_told,
];

const HOSTS: &str =
    "127.0.0.1 localhost\n10.9.8.7 mds1.example.test mds1\n10.9.8.6 node1.example.test node1\n";

fn host(node: &Node<'_>, nid: &str, program: &Path) -> Answer {
    let lookup =
        json!({ "nid": nid, "configured": null, "program": program, "trust_unconfirmed_names": false });
    node.ask_for_host(&lookup, HOSTS, "node1")
}

fn an_address_has_the_name_of_the_hosts_file(shared: &Shared) {
    let node = Node::new(shared.realm());
    for nid in ["10.9.8.7@tcp", "10.9.8.7@o2ib1"] {
        assert_eq!(host(&node, nid, Path::new("/absent")).text("host"), "mds1.example.test");
    }
    let unknown = host(&node, "10.9.8.5@tcp", Path::new("/absent"));
    let detail = unknown.failure("resolve", "unnamed_nid");
    assert!(detail.starts_with("10.9.8.5@tcp: name of 10.9.8.5: "), "{detail}");
}

fn a_hooks_name_for_an_address_must_have_it(shared: &Shared) {
    let node = Node::new(shared.realm());
    let ask = |nid: &str, name: &str| {
        let lookup = json!({ "nid": nid, "configured": null, "proposed": name, "program": "/absent",
            "trust_unconfirmed_names": false });
        node.ask_for_host(&lookup, HOSTS, "node1")
    };
    assert_eq!(ask("10.9.8.7@tcp", "mds1").text("host"), "mds1");
    assert_eq!(ask("7@ptlf", "mds7").text("host"), "mds7");
    let detail = ask("10.9.8.6@tcp", "mds1").failure("resolve", "unconfirmed_name").to_owned();
    assert!(detail.contains("10.9.8.6 is mds1, but mds1 is 10.9.8.7 (S17)"), "{detail}");
}

fn this_node_has_its_name_in_full(shared: &Shared) {
    let node = Node::new(shared.realm());
    assert_eq!(host(&node, "0@lo", Path::new("/absent")).text("host"), "node1.example.test");
}

/// A program of the site in the node's directory.
fn program(node: &Node<'_>, script: &str, mode: u32) -> std::path::PathBuf {
    let program = node.path("nid2hostname");
    install_content(format!("#!/bin/sh\n{script}\n"), &program, mode);
    program
}

fn the_sites_program_has_no_rights(shared: &Shared) {
    let node = Node::new(shared.realm());
    let status = "$(awk '$1 == \"Uid:\" || $1 == \"CapBnd:\" || $1 == \"NoNewPrivs:\" { printf \"-\" $2 }' /proc/self/status)";
    let program = program(&node, &format!("echo $1$2$3{status}"), 0o755);
    let uid = node.host().trim_start_matches('n').trim_end_matches(".test").to_owned();
    let expected = format!("ptl4lnd0x20x7-{uid}-0000000000000000-1");
    assert_eq!(host(&node, "7@ptl42", &program).text("host"), expected);
}

fn a_program_that_only_root_may_run_is_told(shared: &Shared) {
    let node = Node::new(shared.realm());
    let program = program(&node, "echo mds1", 0o700);
    let answer = host(&node, "7@ptl4", &program);
    let detail = answer.failure("resolve", "bad_program");
    assert!(detail.contains("it cannot be run: Permission denied"), "{detail}");
}
