//! Keys that replace others: what becomes of the former ones, and how long they last.

use std::ffi::CString;
use std::process::Command;
use std::time::{Duration, Instant};

use lgss::private_to_lgss::sys::keyctl;
use serde_json::Value;

use crate::Bench;

/// Whether a key ends in two days; the kernel rounds that down to whole days.
fn ends_in_two_days(listed: &Value) -> bool {
    let left = listed["left_seconds"].as_u64();
    listed["ends"] == true && left.is_some_and(|left| left == 86_400 || left == 172_800)
}

fn row_of(bench: &Bench, name: &str) -> Value {
    let (out, _) = bench.done(&["list", "--json"]);
    let rows: Value = serde_json::from_str(&out).unwrap();
    rows.as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == name)
        .cloned()
        .unwrap_or_else(|| panic!("{out}"))
}

#[test]
fn a_clients_former_key_is_kept_for_two_days_so_that_the_upcall_can_try_it() {
    let bench = Bench::new();
    let name = format!("lustre:{}", bench.file_system);
    let previous = format!("{name}#previous");
    ["one", "two", "three"].iter().for_each(|file| bench.make(file, "client"));
    let (_, said) = bench.done(&["-l", "one"]);
    assert_eq!((said.as_str(), bench.names()), ("", vec![name.clone()]));
    bench.done(&["-l", "one"]);
    assert_eq!(bench.names(), [name.as_str()], "the same key has no predecessor");
    let (_, said) = bench.done(&["-l", "two"]);
    assert!(said.contains("the former key stays for 2 d"), "{said}");
    let loaded = bench.loaded();
    assert_eq!(loaded.keys().collect::<Vec<_>>(), [&name, &previous]);
    assert_eq!(
        (&loaded[&name].payload, &loaded[&previous].payload),
        (&bench.bytes("two"), &bench.bytes("one"))
    );
    assert_eq!(loaded[&previous].permissions, "3f3f0000");
    assert!(ends_in_two_days(&row_of(&bench, &previous)) && row_of(&bench, &name)["ends"] == false);
    bench.done(&["-l", "three"]);
    let loaded = bench.loaded();
    assert_eq!(
        (&loaded[&name].payload, &loaded[&previous].payload),
        (&bench.bytes("three"), &bench.bytes("two"))
    );
    bench.done(&["-l", "two"]);
    let loaded = bench.loaded();
    assert_eq!(
        (&loaded[&name].payload, &loaded[&previous].payload),
        (&bench.bytes("two"), &bench.bytes("three"))
    );
    bench.done(&["-R", "two"]);
    assert!(bench.names().is_empty(), "the predecessor has stayed");
}

#[test]
fn a_servers_key_replaces_the_former_one_and_says_what_that_means() {
    let bench = Bench::new();
    let name = format!("lustre:{}:{}", bench.file_system, bench.nodemap);
    bench.make("one", "server");
    bench.make("two", "server");
    bench.done(&["-l", "one"]);
    let (_, said) = bench.done(&["-l", "two"]);
    assert!(said.contains("is gone") && said.contains("--suffix"), "{said}");
    let loaded = bench.loaded();
    assert_eq!((loaded.len(), &loaded[&name].payload), (1, &bench.bytes("two")));
    let (_, said) = bench.done(&["-l", "two"]);
    assert_eq!(said, "");
}

#[test]
fn with_a_suffix_a_servers_former_keys_serve_for_a_while() {
    let bench = Bench::new();
    let name = format!("lustre:{}:{}", bench.file_system, bench.nodemap);
    ["one", "two", "three"].iter().for_each(|file| bench.make(file, "server"));
    bench.done(&["-s", "-l", "one"]);
    assert_eq!(bench.names(), [name.as_str()], "the first needs no suffix");
    let (_, said) = bench.done(&["--suffix", "--load", "two"]);
    assert!(said.contains(&format!("{name} serves for another 2 d")), "{said}");
    let loaded = bench.loaded();
    let second = loaded.keys().find(|found| **found != name).unwrap().clone();
    assert_eq!(
        (&loaded[&name].payload, &loaded[&second].payload),
        (&bench.bytes("one"), &bench.bytes("two"))
    );
    let time = second.strip_prefix(&format!("{name}:")).unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "00000000_000000_000000");
    assert!(ends_in_two_days(&row_of(&bench, &name)) && row_of(&bench, &second)["ends"] == false);
    // None of them serves for longer than the timeout.
    let (_, said) = bench.done(&["-l", "three", "-s", "-x", "1000"]);
    assert!(said.contains(&format!("{second} serves")) && said.contains(&format!("{name} serves")), "{said}");
    assert_eq!(bench.names().len(), 3);
    // 1000 s are 16 whole minutes.
    let left = [&name, &second].map(|name| row_of(&bench, name)["left_seconds"].clone());
    assert_eq!(left, [960, 960]);
    // One that ends sooner keeps its end.
    ["four"].iter().for_each(|file| bench.make(file, "server"));
    let (_, said) = bench.done(&["-l", "four", "-s", "-x", "5000"]);
    assert!(!said.contains(&format!("{second} serves")), "{said}");
    bench.done(&["-R", "four"]);
    // Of those with a suffix, a file describes the one with its secret.
    bench.done(&["-R", "three"]);
    assert_eq!(bench.names(), [second]);
}

#[test]
fn the_time_in_a_name_is_that_of_the_time_zone() {
    for zone in ["EAST-14", "WEST+11"] {
        let bench = Bench::new();
        ["one", "two"].iter().for_each(|file| bench.make(file, "server"));
        let time = || {
            let mut date = Command::new("date");
            let output = date.arg("+%Y%m%d_%H%M%S").env("TZ", zone).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let before = time();
        for file in ["one", "two"] {
            let output = bench.command(&["-s", "-l", file]).env("TZ", zone).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let names = bench.names();
        let with_time = names.iter().max_by_key(|name| name.len()).unwrap();
        let told = with_time.rsplit(':').next().unwrap();
        assert!(
            before.as_str() <= &told[..before.len()] && &told[..before.len()] <= time().as_str(),
            "{told}"
        );
    }
}

/// As Lustre's tool loads it. Whoever has changed it could pass for a server, if the upcall tried it.
#[test]
fn a_former_key_that_others_could_write_to_is_not_kept() {
    let bench = Bench::new();
    let name = format!("lustre:{}", bench.file_system);
    ["one", "two", "three"].iter().for_each(|file| bench.make(file, "client"));
    ["one", "two"].iter().for_each(|file| drop(bench.done(&["-l", file])));
    assert_eq!(bench.names(), [name.clone(), format!("{name}#previous")]);
    keyctl::set_permissions(bench.loaded()[&name].serial, 0x3f3f_3f3f).unwrap();
    let (_, said) = bench.done(&["-l", "three"]);
    assert!(said.contains("the former key is gone: others than root could read or change it"), "{said}");
    let loaded = bench.loaded();
    assert_eq!((loaded.len(), &loaded[&name].payload), (1, &bench.bytes("three")));
}

#[test]
fn a_former_key_lasts_no_longer_than_it_would_have() {
    let bench = Bench::new();
    let name = format!("lustre:{}", bench.file_system);
    ["one", "two"].iter().for_each(|file| bench.make(file, "client"));
    bench.done(&["-l", "one"]);
    keyctl::set_timeout(bench.loaded()[&name].serial, Duration::from_secs(3590)).unwrap();
    bench.done(&["-l", "two"]);
    let left = row_of(&bench, &format!("{name}#previous"))["left_seconds"].as_u64().unwrap();
    assert!((1..3590).contains(&left), "{left}");
}

#[test]
fn a_servers_former_key_that_serves_on_is_closed_to_others() {
    let bench = Bench::new();
    let name = format!("lustre:{}:{}", bench.file_system, bench.nodemap);
    ["one", "two"].iter().for_each(|file| bench.make(file, "server"));
    bench.done(&["-l", "one"]);
    keyctl::set_permissions(bench.loaded()[&name].serial, 0x3f3f_3f3f).unwrap();
    let open = bench.loaded()[&name].serial;
    let (_, said) = bench.done(&["-s", "-l", "two"]);
    assert!(said.contains("others than root could read or change it until now"), "{said}");
    let copy = &bench.loaded()[&name];
    assert_eq!((copy.permissions.as_str(), &copy.payload), ("3f3f0000", &bench.bytes("one")));
    assert!(copy.serial != open && ends_in_two_days(&row_of(&bench, &name)));
}

#[test]
fn a_former_key_that_has_ended_is_in_nobodys_way() {
    let bench = Bench::new();
    let name = format!("lustre:{}", bench.file_system);
    bench.make("one", "client");
    bench.make("two", "client");
    bench.done(&["-l", "one"]);
    let key = bench.loaded()[&name].serial;
    keyctl::set_timeout(key, Duration::from_secs(1)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while keyctl::read(key).is_ok() {
        assert!(Instant::now() < deadline, "it does not expire");
        std::thread::sleep(Duration::from_millis(20));
    }
    bench.done(&["-l", "two"]);
    let loaded = bench.loaded();
    assert_eq!((loaded.len(), &loaded[&name].payload), (1, &bench.bytes("two")));
    keyctl::revoke(loaded[&name].serial).unwrap();
    bench.done(&["-l", "one"]);
    assert_eq!(bench.loaded()[&name].payload, bench.bytes("one"));
}

/// As Lustre's tool leaves them, and as somebody else may.
#[test]
fn keys_that_were_not_loaded_by_us_are_listed_with_what_is_wrong_with_them_and_replaced() {
    let bench = Bench::new();
    let name = format!("lustre:{}", bench.file_system);
    bench.make("key", "client");
    let description = CString::new(name.clone()).unwrap();
    keyctl::add(c"user", &description, b"no key", keyctl::USER_KEYRING).unwrap();
    let (out, err) = bench.done(&["list"]);
    assert!(
        out.contains(&name) && err.contains(&format!("{name}: not a shared key: it has 6 bytes")),
        "{out}{err}"
    );
    assert!(row_of(&bench, &name)["trouble"].as_str().unwrap().contains("6 bytes"));
    bench.done(&["-l", "key"]);
    let loaded = bench.loaded();
    assert_eq!((loaded.len(), &loaded[&name].payload), (1, &bench.bytes("key")));
}

#[test]
fn a_key_that_has_expired_or_was_revoked_is_listed_as_such_and_removed() {
    let bench = Bench::new();
    let client = format!("lustre:{}", bench.file_system);
    let server = format!("{client}:{}", bench.nodemap);
    bench.make("client", "client");
    bench.make("server", "server");
    ["client", "server"].iter().for_each(|file| drop(bench.done(&["-l", file])));
    let loaded = bench.loaded();
    let serials = [loaded[&client].serial, loaded[&server].serial];
    keyctl::revoke(serials[1]).unwrap();
    keyctl::set_timeout(serials[0], Duration::from_secs(1)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while keyctl::read(serials[0]).is_ok() {
        assert!(Instant::now() < deadline, "it does not expire");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (out, err) = bench.done(&["list"]);
    for (name, left, trouble) in
        [(&client, "expired", "it has expired"), (&server, "revoked", "it has been revoked")]
    {
        let row = out.lines().find(|line| line.split_whitespace().next() == Some(name));
        assert!(row.is_some_and(|row| row.ends_with(left)), "{out}");
        assert!(err.contains(&format!("lgss_sk: {name}: {trouble}\n")), "{err}");
        let row = row_of(&bench, name);
        assert_eq!(
            (&row["trouble"], &row["ends"], &row["left_seconds"]),
            (&trouble.into(), &true.into(), &0.into())
        );
    }
    // One that has ended is neither a predecessor nor does it serve on.
    let (_, said) = bench.done(&["-s", "-l", "server"]);
    assert_eq!((said.as_str(), bench.names()), ("", vec![server.clone()]));
    bench.done(&["-R", "client"]);
    bench.done(&["-R", "server"]);
    let links = keyctl::links(keyctl::USER_KEYRING).unwrap();
    assert!(!serials.iter().any(|serial| links.contains(serial)));
}

#[test]
fn a_load_without_suffix_names_the_servers_keys_that_remain_usable() {
    let bench = Bench::new();
    let name = format!("lustre:{}:{}", bench.file_system, bench.nodemap);
    ["one", "two", "three"].iter().for_each(|file| bench.make(file, "server"));
    bench.done(&["-l", "one"]);
    bench.done(&["-s", "-l", "two"]);
    let dated = bench.names().into_iter().find(|found| *found != name).unwrap();
    let (_, said) = bench.done(&["-l", "three"]);
    assert!(
        said.contains(&format!("{dated} stays loaded with another secret, and remains usable")),
        "{said}"
    );
    assert!(
        said.contains("lgss_sk -R of the file with its secret, then -l of this one again, ends it"),
        "{said}"
    );
    assert_eq!(bench.names(), [name, dated.clone()]);
    let (_, said) = bench.done(&["-l", "two"]);
    assert!(said.contains(&format!("{dated} stays loaded with the same secret")), "{said}");
    // What it says ends the one and leaves the other.
    bench.done(&["-R", "two"]);
    bench.done(&["-l", "three"]);
    let loaded = bench.loaded();
    assert_eq!(loaded.values().map(|key| &key.payload).collect::<Vec<_>>(), [&bench.bytes("three")]);
}
