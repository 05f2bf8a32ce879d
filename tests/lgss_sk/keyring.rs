//! Loading into root's user keyring and removing from it: names, permissions, sessions, modes of files.

use lgss::private_to_lgss::sys::keyctl;
use serde_json::Value;

use crate::Bench;

/// Possessor and owner may do everything, group and others nothing.
const CLOSED: &str = "3f3f0000";

#[test]
fn each_type_of_key_has_its_names_and_only_root_and_its_possessor_may_read_it() {
    let bench = Bench::new();
    let Bench { file_system, nodemap, nid, .. } = &bench;
    bench.make("key", "client,server,mgs");
    bench.done(&["-m", "key", "-g", nid, "-a"]);
    bench.done(&["-l", "key"]);
    let loaded = bench.loaded();
    let names: Vec<&String> = loaded.keys().collect();
    let expected = [
        format!("lustre:MGC{nid}"),
        format!("lustre:MGS:{nodemap}"),
        format!("lustre:{file_system}"),
        format!("lustre:{file_system}:{nodemap}"),
    ];
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    bench.make("binary", "server");
    let is_binary = |payload: &[u8]| payload.len() == bench.bytes("binary").len();
    assert!(loaded.values().all(|key| key.permissions == CLOSED && is_binary(&key.payload)));
    let (_, said) = bench.done(&["-R", "key", "-v"]);
    assert_eq!((said.lines().count(), bench.names()), (4, vec![]), "{said}");
}

#[test]
fn the_payload_is_the_binary_form_of_the_file_whatever_its_own_form() {
    let bench = Bench::new();
    bench.make("key", "client");
    bench.done(&["--load", "key"]);
    let name = format!("lustre:{}", bench.file_system);
    assert_eq!(bench.loaded()[&name].payload, bench.bytes("key"));
    let binary = bench.bytes("key");
    bench.done(&["-m", "key", "-a"]);
    bench.done(&["--remove", "key"]);
    bench.done(&["--load", "key"]);
    assert_eq!(bench.loaded()[&name].payload, binary);
}

/// As in a unit of systemd, under sudo and by cron.
#[test]
fn a_session_that_does_not_lead_to_the_user_keyring_is_no_obstacle() {
    let bench = Bench::new();
    bench.make("key", "client");
    keyctl::join_anonymous_session().unwrap();
    let name = format!("lustre:{}", bench.file_system);
    bench.done(&["-l", "key"]);
    let of_session = keyctl::links(keyctl::SESSION_KEYRING).unwrap();
    assert!(of_session.is_empty(), "the session holds {of_session:?}");
    let key = &bench.loaded()[&name];
    assert_eq!((key.permissions.as_str(), key.payload.clone()), (CLOSED, bench.bytes("key")));
    let (out, _) = bench.done(&["list", "--json"]);
    let rows: Value = serde_json::from_str(&out).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name.as_str()).unwrap();
    assert_eq!(row["secret_bits"], 256, "it was read");
    bench.done(&["-R", "key"]);
    assert!(bench.names().is_empty());
}

#[test]
fn a_session_that_has_ended_is_no_obstacle() {
    let bench = Bench::new();
    bench.make("key", "server");
    let session = keyctl::join_anonymous_session().unwrap();
    keyctl::revoke(session).unwrap();
    bench.done(&["-l", "key"]);
    bench.done(&["list"]);
    bench.done(&["-R", "key"]);
}

#[test]
fn a_file_that_others_can_read_or_change_is_not_loaded() {
    let bench = Bench::new();
    bench.make("key", "server");
    for mode in [0o440, 0o420, 0o402, 0o401, 0o666, 0o777, 0o460] {
        bench.set_mode("key", mode);
        let err = bench.refused(&["-l", "key"]);
        assert!(err.contains(&format!("mode is {mode:04o}")) && err.contains("chmod 0400 key"), "{err}");
    }
    assert!(bench.names().is_empty());
    for mode in [0o400, 0o600, 0o700, 0o410, 0o404] {
        bench.set_mode("key", mode);
        let (_, err) = bench.done(&["-l", "key"]);
        assert_eq!(err.contains("everybody can read key"), mode & 0o004 != 0, "{mode:o}: {err}");
    }
}

#[test]
fn a_file_of_another_owner_is_loaded_with_a_word_about_the_owner() {
    let bench = Bench::new();
    bench.make("key", "server");
    assert_eq!(bench.done(&["-l", "key"]).1, "");
    bench.done(&["-R", "key"]);
    std::os::unix::fs::chown(bench.path("key"), Some(4_000_123), None).unwrap();
    let (_, err) = bench.done(&["-l", "key"]);
    assert_eq!(err, "lgss_sk: key belongs to uid 4000123, who can read and replace it: chown root key\n");
    assert_eq!(bench.names().len(), 1);
}

#[test]
fn a_clients_file_is_loaded_for_all_its_types_and_says_so_where_one_was_asked_for() {
    let bench = Bench::new();
    bench.make("key", "client,server");
    let before = bench.bytes("key");
    let (_, err) = bench.done(&["-l", "key", "-t", "client", "-p", "1024"]);
    let said: Vec<&str> = err.lines().collect();
    assert_eq!(
        said,
        [
            "lgss_sk: --type has no effect: key is a client's key already, and is loaded for all its types: client,server",
            "lgss_sk: --prime-bits has no effect: key is a client's key already, and stays as it is",
        ]
    );
    let client = format!("lustre:{}", bench.file_system);
    assert_eq!(bench.names(), [client.clone(), format!("{client}:{}", bench.nodemap)]);
    assert_eq!(bench.bytes("key"), before);
}

#[test]
fn a_key_without_a_name_is_not_loaded() {
    let bench = Bench::new();
    bench.done(&["-w", "key", "-t", "server", "-g", &bench.nid]);
    let err = bench.refused(&["-l", "key"]);
    assert!(err.contains("no file system name") && err.contains("lgss_sk -m key -f FSNAME"), "{err}");
    bench.refused(&["-R", "key"]);
}

#[test]
fn a_removed_key_with_another_secret_is_named() {
    let bench = Bench::new();
    bench.make("old", "server");
    bench.make("new", "server");
    bench.done(&["-l", "old"]);
    let (_, err) = bench.done(&["-R", "new"]);
    assert!(err.contains("whose secret differed from the file's"), "{err}");
    assert!(bench.names().is_empty());
    bench.done(&["-l", "old"]);
    assert_eq!(bench.done(&["-R", "old"]).1, "");
}

#[test]
fn what_is_not_loaded_cannot_be_removed() {
    let bench = Bench::new();
    bench.make("key", "client,server");
    let err = bench.refused(&["-R", "key"]);
    assert!(err.contains("not loaded") && err.contains(&bench.file_system), "{err}");
}

#[test]
fn a_servers_file_becomes_a_clients_where_it_is_loaded_as_one() {
    let bench = Bench::new();
    bench.make("key", "server");
    let secret = bench.bytes("key")[crate::SECRET].to_vec();
    bench.done(&["-m", "key", "-a"]);
    let (_, said) = bench.done(&["-l", "key", "-t", "client"]);
    assert!(said.contains("a client's key now"), "{said}");
    assert!(bench.bytes("key").starts_with(b"Lustre SSK"), "the form has changed");
    let loaded = bench.loaded();
    let name = format!("lustre:{}", bench.file_system);
    assert_eq!(loaded.keys().collect::<Vec<_>>(), [&name]);
    let payload = &loaded[&name].payload;
    assert_eq!((payload[20], &payload[crate::SECRET]), (1, &secret[..]));
    assert!(payload[crate::PRIME].iter().any(|&byte| byte != 0));
    let before = bench.bytes("key");
    let (_, said) = bench.done(&["-l", "key", "-t", "client"]);
    assert_eq!((said.as_str(), bench.bytes("key")), ("", before));
}

#[test]
fn a_mount_that_is_none_of_lustres_is_an_error_that_says_so() {
    let bench = Bench::new();
    bench.make("key", "client");
    bench.make("server", "server");
    let err = bench.refused(&["-l", "key", "-u", "."]);
    assert!(err.contains("is in no Lustre file system"), "{err}");
    assert!(bench.refused(&["-l", "key", "-u", "none"]).contains("No such file"));
    assert!(bench.refused(&["-l", "server", "-u", "."]).contains("keys of type client"));
    assert!(bench.names().is_empty());
}

#[test]
fn the_list_shows_everything_but_secrets() {
    let bench = Bench::new();
    let Bench { file_system, nodemap, nid, .. } = &bench;
    bench.done(&[
        "-w",
        "key",
        "-t",
        "server",
        "-f",
        file_system,
        "-n",
        nodemap,
        "-g",
        nid,
        "-k",
        "512",
        "-e",
        "100",
    ]);
    bench.done(&["-l", "key"]);
    let name = format!("lustre:{file_system}:{nodemap}");
    let (out, _) = bench.done(&["list"]);
    let heading: Vec<&str> = out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["NAME", "TYPE", "FILE", "SYSTEM", "NODEMAP", "BITS", "PRIME", "LEFT"]);
    let row: Vec<&str> =
        out.lines().find(|line| line.starts_with(&name)).unwrap().split_whitespace().collect();
    assert_eq!(row, [&name, "server", file_system, nodemap, "512", "2048", "no", "end"]);
    let (out, _) = bench.done(&["list", "--json"]);
    let rows: Value = serde_json::from_str(&out).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name.as_str()).unwrap();
    let serial = bench.loaded()[&name].serial;
    let expected = serde_json::json!({
        "name": name, "serial": serial, "ends": false, "open_to_others": false, "types": ["server"],
        "file_system": file_system, "nodemap": nodemap, "mgs_nids": [nid], "secret_bits": 512, "prime_bits": 2048,
        "hmac": "SHA256", "cipher": "AES-256-CTR", "context_seconds": 100,
    });
    assert_eq!(*row, expected);
}

#[test]
fn where_nobody_reads_standard_error_everything_is_done_all_the_same() {
    let bench = Bench::new();
    let name = format!("lustre:{}", bench.file_system);
    bench.make("foreign", "server");
    std::os::unix::fs::chown(bench.path("foreign"), Some(4_000_123), None).unwrap();
    assert_eq!(bench.unheard(&["-l", "foreign"]), 0);
    assert_eq!(bench.loaded()[&format!("{name}:{}", bench.nodemap)].payload, bench.bytes("foreign"));
    bench.done(&["-R", "foreign"]);
    bench.make("one", "client");
    bench.make("two", "client");
    bench.done(&["-l", "one"]);
    assert_eq!(bench.unheard(&["-l", "two"]), 0);
    let loaded = bench.loaded();
    assert_eq!(loaded[&name].payload, bench.bytes("two"));
    assert_eq!(loaded[&format!("{name}#previous")].payload, bench.bytes("one"));
    assert_eq!((bench.unheard(&["-R", "one"]), bench.names()), (0, vec![]), "not all that was described");
    assert_eq!(bench.unheard(&["-R", "one"]), 1, "a failure is one");
    std::fs::write(bench.path("data"), [7; 64]).unwrap();
    assert_eq!(bench.unheard(&["-w", "new", "-t", "server", "-f", "x", "-d", "data"]), 0);
    assert_eq!(bench.bytes("new")[crate::SECRET], [7; 32]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = bench.command(&["-r", "new"]).stdout(writer).status().unwrap();
    assert!(status.success(), "who reads no more of a result wants no more of it");
}

/// As `-l -u` and mounts with `skpath` load them.
#[test]
fn a_clients_file_removes_the_keys_of_single_mounts_that_have_its_secret() {
    let bench = Bench::new();
    let name = format!("lustre:{}", bench.file_system);
    bench.make("one", "client");
    bench.make("two", "client");
    bench.make("server", "server");
    bench.done(&["-l", "one"]);
    bench.done(&["-l", "server"]);
    let server = format!("{name}:{}", bench.nodemap);
    let add = |name: &str, file: &str| {
        let description = std::ffi::CString::new(name).unwrap();
        keyctl::add(c"user", &description, &bench.bytes(file), keyctl::USER_KEYRING).unwrap();
    };
    let of_mounts = ["5f47", "60ab", "5f47#previous"].map(|mount| format!("{name}:{mount}"));
    add(&of_mounts[0], "one");
    add(&of_mounts[1], "two");
    // A predecessor goes with its successor, whatever its secret.
    add(&of_mounts[2], "two");
    let (_, said) = bench.done(&["-R", "one"]);
    for mount in [&of_mounts[0], &of_mounts[2]] {
        assert!(said.contains(&format!("removed {mount}, a key for one mount")), "{said}");
    }
    assert_eq!(bench.loaded().into_keys().collect::<Vec<_>>(), [of_mounts[1].clone(), server.clone()]);
    bench.done(&["-R", "two"]);
    assert_eq!(bench.names(), [server]);
}

#[test]
fn a_file_whose_key_would_have_no_name_is_not_rewritten_to_be_loaded() {
    let bench = Bench::new();
    bench.make("key", "mgs");
    bench.done(&["-m", "key", "-f", ""]);
    let before = bench.bytes("key");
    let err = bench.refused(&["-l", "key", "-t", "client"]);
    assert!(err.contains("no file system name"), "{err}");
    assert_eq!(bench.bytes("key"), before);
}

#[test]
fn options_for_servers_keys_are_named_where_the_key_is_for_clients() {
    let bench = Bench::new();
    bench.make("key", "client");
    for (words, options) in [
        (&["-l", "key", "-s"][..], "--suffix has no effect: key is for clients"),
        (&["-l", "key", "-s", "-x", "100"], "--suffix and --timeout have no effect: key is for clients"),
    ] {
        let (_, err) = bench.done(words);
        assert!(err.starts_with(&format!("lgss_sk: {options}")), "{err}");
    }
    bench.make("both", "client,server");
    let (_, err) = bench.done(&["-l", "both", "-s"]);
    assert!(!err.contains("no effect"), "{err}");
}

#[test]
fn a_key_that_others_may_read_or_change_is_named_and_closed_by_loading_it_anew() {
    let bench = Bench::new();
    bench.make("key", "server");
    let name = format!("lustre:{}:{}", bench.file_system, bench.nodemap);
    let remark = format!("lgss_sk: {name}: others than root can read or change it");
    for (permissions, open) in [(0x3f3f_0101, false), (0x3f3f_0010, true), (0x3f3f_3f3f, true)] {
        bench.done(&["-l", "key"]);
        let serial = linux_keyutils::KeySerialId(bench.loaded()[&name].serial);
        let permissions = linux_keyutils::KeyPermissions::from_u32(permissions);
        linux_keyutils::Key::from_id(serial).set_perms(permissions).unwrap();
        let (_, err) = bench.done(&["list"]);
        assert_eq!(err.contains(&remark), open, "{permissions:?}: {err}");
    }
    bench.done(&["-l", "key"]);
    assert!(!bench.done(&["list"]).1.contains(&remark));
}
