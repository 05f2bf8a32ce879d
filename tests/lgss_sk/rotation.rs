//! `lgss_sk rotate`: successors of keys.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lgss::private_to_lgss::sys::keyctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
    assert!(err.contains("two: its successor two.new already exists"), "{err}");
    assert!(bench.refused(&["rotate", "one", "bad"]).contains("bad: not a shared key"));
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
        "lgss_sk: key: its successor key.new already exists\n  try:    load key.new on every node, then mv key.new key; \
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

/// What a person does who follows it after a leak: each command of that part, in its order.
fn follow_the_advice_after_a_leak(bench: &Bench, out: &str) -> Vec<String> {
    let advice = out.split("has leaked").nth(1).unwrap_or_else(|| panic!("{out}"));
    let commands = advice.lines().filter_map(|line| line.trim_start().strip_prefix("lgss_sk "));
    commands
        .map(|command| {
            bench.done(&command.split(' ').collect::<Vec<_>>());
            command.to_owned()
        })
        .collect()
}

#[test]
fn after_a_leak_the_advice_ends_the_former_key_in_the_second_rotation_too() {
    let bench = Bench::new();
    let client = format!("lustre:{}", bench.file_system);
    let server = format!("{client}:{}", bench.nodemap);
    bench.make("key", "client,server");
    bench.done(&["-l", "key"]);
    bench.done(&["rotate", "key"]);
    bench.done(&["-s", "-l", "key.new"]);
    fs::rename(bench.path("key.new"), bench.path("key")).unwrap();
    // It is loaded with a time in its name now, and for one mount; and it has leaked.
    let leaked = bench.bytes("key");
    let mount = std::ffi::CString::new(format!("{client}:5f47")).unwrap();
    keyctl::add(c"user", &mount, &leaked, keyctl::USER_KEYRING).unwrap();
    assert_eq!(bench.names().len(), 5, "{:?}", bench.names());
    let (out, _) = bench.done(&["rotate", "key"]);
    let followed = follow_the_advice_after_a_leak(&bench, &out);
    assert_eq!(followed, ["-R key", "-l key.new", "-R key", "-l key.new"], "servers, then clients");
    let loaded = bench.loaded();
    assert_eq!(loaded.keys().collect::<Vec<_>>(), [&client, &server]);
    for key in loaded.values() {
        assert_eq!(key.payload[SECRET], bench.bytes("key.new")[SECRET]);
    }
}

#[test]
fn keys_of_single_mounts_are_in_the_order_that_is_printed() {
    let bench = Bench::new();
    bench.make("key", "client");
    let (out, _) = bench.done(&["rotate", "key"]);
    assert!(out.contains("lgss_sk -l -u DIR key.new"), "{out}");
}

#[test]
fn commands_with_names_that_a_shell_would_act_on_are_quoted() {
    let bench = Bench::new();
    bench.make("a$(id)b", "server,client");
    let (out, _) = bench.done(&["rotate", "a$(id)b"]);
    for command in [
        "lgss_sk -s -l 'a$(id)b.new'\n",
        "lgss_sk -l 'a$(id)b.new'\n",
        "mv 'a$(id)b.new' 'a$(id)b'\n",
        "lgss_sk -R 'a$(id)b'\n",
    ] {
        assert!(out.contains(command), "{command}: {out}");
    }
    let err = bench.refused(&["rotate", "a$(id)b"]);
    assert!(err.contains("mv 'a$(id)b.new' 'a$(id)b'; or"), "{err}");
    bench.set_mode("a$(id)b", 0o440);
    assert!(bench.refused(&["-l", "a$(id)b"]).contains("try:    chmod 0400 'a$(id)b'\n"));
    bench.set_mode("a$(id)b", 0o404);
    assert!(bench.done(&["-l", "a$(id)b"]).1.contains(": chmod 0400 'a$(id)b'\n"));
}

/// Between two files as well as within one.
#[test]
fn an_interrupted_rotation_has_written_all_successors_or_none() {
    let bench = Bench::new();
    let names: Vec<String> = (10..50).map(|number| format!("key{number}")).collect();
    names.iter().for_each(|name| bench.make(name, "server"));
    let words: Vec<&str> = std::iter::once("rotate").chain(names.iter().map(String::as_str)).collect();
    let mut child = bench.interruptible(&words).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !bench.path("key10.new").exists() {
        assert!(Instant::now() < deadline, "no successor");
        std::thread::sleep(Duration::from_micros(100));
    }
    // It may have ended by now.
    let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT);
    child.wait().unwrap();
    let expected: Vec<String> =
        names.into_iter().flat_map(|name| [name.clone(), format!("{name}.new")]).collect();
    assert_eq!(bench.files(), expected);
}
