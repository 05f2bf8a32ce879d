//! `lgss_sk rotate`: successors of keys.

use std::fs;

use crate::{Bench, PRIME, SECRET};

#[test]
fn the_files_of_servers_and_clients_get_the_same_new_secret_and_stay_themselves() {
    let bench = Bench::new();
    bench.make("server", "server");
    fs::copy(bench.path("server"), bench.path("client")).unwrap();
    bench.done(&["-m", "client", "-t", "client", "-a"]);
    bench.make("other", "client,server");
    let before = ["server", "client", "other"].map(|name| bench.bytes(name));
    let shown = |name: &str| {
        let (out, _) = bench.done(&["-r", name]);
        out.split("Prime (p)").next().unwrap().to_owned()
    };
    let (out, err) = bench.done(&["rotate", "server", "client", "other"]);
    assert_eq!(err, "");
    assert_eq!(["server", "client", "other"].map(|name| bench.bytes(name)), before, "the old ones stay");
    for name in ["server", "client", "other"] {
        let new = format!("{name}.new");
        assert_eq!(shown(name), shown(&new), "the parameters");
        assert_eq!(bench.mode(&new), 0o400);
    }
    assert!(bench.bytes("client.new").starts_with(b"Lustre SSK"), "the form");
    bench.done(&["-l", "client.new"]);
    let client = bench.loaded().remove(&format!("lustre:{}", bench.file_system)).unwrap().payload;
    let (server, other) = (bench.bytes("server.new"), bench.bytes("other.new"));
    assert_eq!(client[SECRET], server[SECRET]);
    assert_ne!(server[SECRET], before[0][SECRET]);
    assert_ne!(other[SECRET], server[SECRET], "another secret has another successor");
    assert_ne!(other[PRIME], before[2][PRIME], "a client gets a new prime");
    let order =
        ["lgss_sk -s -l server.new", "lgss_sk -l client.new", "mv server.new server", "mv client.new client"];
    let places: Vec<usize> =
        order.iter().map(|line| out.find(line).unwrap_or_else(|| panic!("{line}: {out}"))).collect();
    assert!(places.is_sorted(), "{out}");
    assert!(out.contains("has leaked"), "{out}");
}

#[test]
fn a_rotation_that_cannot_be_completed_writes_nothing() {
    let bench = Bench::new();
    bench.make("one", "server");
    bench.make("two", "server");
    fs::write(bench.path("two.new"), "mine").unwrap();
    fs::write(bench.path("bad"), "bad").unwrap();
    let before = bench.files();
    let err = bench.refused(&["rotate", "one", "two"]);
    assert!(err.contains("two: it has the successor two.new already"), "{err}");
    assert!(bench.refused(&["rotate", "one", "bad"]).contains("bad: it is no shared key"));
    assert!(bench.refused(&["rotate", "one", "none"]).contains("No such file"));
    for again in ["one", "./one"] {
        let err = bench.refused(&["rotate", "one", again]);
        assert!(
            err.contains(&format!("{again}: it is named twice")) && err.contains("try:    name each"),
            "{err}"
        );
    }
    assert_eq!((bench.files(), bench.bytes("two.new")), (before, b"mine".to_vec()));
}

#[test]
fn a_second_rotation_says_what_has_to_become_of_the_first_ones_file() {
    let bench = Bench::new();
    bench.make("key", "server");
    bench.done(&["rotate", "key"]);
    let (before, successor) = (bench.files(), bench.bytes("key.new"));
    assert_eq!(
        bench.refused(&["rotate", "key"]),
        "lgss_sk: key: it has the successor key.new already\n  try:    load key.new on every node, then mv key.new key; \
         or, if no node has loaded it, rm key.new\n"
    );
    assert_eq!((bench.files(), bench.bytes("key.new")), (before, successor));
    std::fs::rename(bench.path("key.new"), bench.path("key")).unwrap();
    bench.done(&["rotate", "key"]);
}

#[test]
fn a_client_loads_its_successor_beside_the_key_that_it_has() {
    let bench = Bench::new();
    bench.make("key", "client,server");
    bench.done(&["-l", "key"]);
    bench.done(&["rotate", "key"]);
    bench.done(&["-s", "-l", "key.new"]);
    let loaded = bench.loaded();
    let client = format!("lustre:{}", bench.file_system);
    let server = format!("{client}:{}", bench.nodemap);
    assert_eq!(loaded[&client].payload, bench.bytes("key.new"));
    assert_eq!(loaded[&format!("{client}#previous")].payload, bench.bytes("key"));
    assert_eq!(loaded[&server].payload, bench.bytes("key"));
    let stamped = loaded.iter().find(|(name, _)| name.starts_with(&format!("{server}:"))).unwrap();
    assert_eq!(stamped.1.payload, bench.bytes("key.new"));
}

#[test]
fn a_secret_without_a_file_for_the_other_side_is_told_with_what_makes_one() {
    let bench = Bench::new();
    bench.make("key", "server");
    let (out, _) = bench.done(&["rotate", "key"]);
    assert!(out.contains("cp key.new FILE && lgss_sk -t client -m FILE"), "{out}");
}
