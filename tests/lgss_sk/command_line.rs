//! Options: names, defaults, what goes together, exit status.

use std::fs;
use std::os::unix::process::CommandExt;

use crate::{Bench, LENGTH, SECRET, outcome};

#[test]
fn each_option_has_its_short_and_its_long_name() {
    let bench = Bench::new();
    fs::write(bench.path("secret"), [0x5a; 64]).unwrap();
    let done = |line: &str| bench.done(&line.split(' ').collect::<Vec<_>>());
    done(
        "-w short -t server,mgs -f scratch -g 10.0.0.1@tcp,10.0.0.1@o2ib3 -n guests -c null -i sha512 -e 3600 -k 512 \
         -p 1024 -d secret",
    );
    done(
        "--write long --type SERVER,Mgs --fsname scratch --mgsnids 10.0.0.1@tcp,10.0.0.1@o2ib3 --nodemap guests \
         --crypt NONE --hmac SHA512 --expire 3600 --key-bits 512 --prime-bits 1024 --data secret",
    );
    assert_eq!(bench.bytes("short"), bench.bytes("long"));
    // Other names of two options; a beginning of a long name that fits no other; the last of two.
    done(
        "--write=other --ty=server,mgs -fscratch -g10.0.0.1@tcp,10.0.0.1@o2ib3 -n other -n guests --cr null \
         --integrity SHA512 --expire=3600 --shared 512 --prime 1024 --data secret",
    );
    assert_eq!(bench.bytes("other"), bench.bytes("long"));
    let (shown, _) = bench.done(&["--read", "long"]);
    for line in [
        "Version:        1",
        "Type:           server mgs",
        "HMAC alg:       SHA512",
        "Crypto alg:     NONE",
        "Ctx Expiration: 3600 seconds",
        "Shared keylen:  512 bits",
        "Prime length:   1024 bits",
        "File system:    scratch",
        "MGS NIDs:       10.0.0.1@tcp 10.0.0.1@o2ib3",
        "Nodemap name:   guests",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}

#[test]
fn the_defaults_are_lustres() {
    let bench = Bench::new();
    bench.done(&["-w", "key", "-t", "server", "-f", "scratch"]);
    let (shown, _) = bench.done(&["-r", "key"]);
    let expire = match fs::read_to_string("/proc/sys/crypto/fips_enabled").unwrap_or_default().trim() {
        "1" => 86_400,
        _ => 604_800,
    };
    assert_eq!(
        shown,
        format!(
            "Version:        1\nType:           server\nHMAC alg:       SHA256\nCrypto alg:     AES-256-CTR\n\
             Ctx Expiration: {expire} seconds\nShared keylen:  256 bits\nPrime length:   2048 bits\n\
             File system:    scratch\nMGS NIDs:\nNodemap name:   default\n\
             Shared key:     hidden; --show-secret prints it\n"
        )
    );
    assert_eq!((bench.mode("key"), bench.bytes("key").len()), (0o400, LENGTH));
}

#[test]
fn a_command_line_that_contradicts_itself_is_refused_with_status_1_and_nothing_happens() {
    let bench = Bench::new();
    bench.make("key", "server");
    let before = bench.bytes("key");
    let new = ["-w", "new", "-t", "server", "-f", "x"];
    let with_new = |more: &[&'static str]| [&new, more].concat();
    for words in [
        vec![],
        vec!["-l", "key", "-R", "key"],
        vec!["-r", "key", "-m", "key"],
        with_new(&["-r", "key"]),
        vec!["-R", "key", "-u", "/"],
        vec!["-r", "key", "-s"],
        with_new(&["-s"]),
        with_new(&["-u", "/"]),
        vec!["-l", "key", "-x", "100"],
        vec!["-l", "key", "-s", "-x", "0"],
        vec!["-l", "key", "-t", "server"],
        vec!["-m", "key", "-d", "/dev/zero"],
        vec!["-m", "key", "--show-secret"],
        vec!["-w", "new", "-f", "x"],
        vec!["-w", "new", "-t", "server"],
        with_new(&["more"]),
        vec!["-r", "key", "more"],
        vec!["key"],
        vec!["list", "more"],
        vec!["-v", "list"],
        vec!["rotate"],
        vec!["help"],
        with_new(&["-t", "oss"]),
        with_new(&["-t", ""]),
        with_new(&["-c", "AES"]),
        with_new(&["-i", "MD5"]),
        with_new(&["-e", "59"]),
        with_new(&["-e", "1d"]),
        with_new(&["-e", "2147483648"]),
        with_new(&["-p", "504"]),
        with_new(&["-p", "1020"]),
        with_new(&["-p", "16392"]),
        with_new(&["-k", "0"]),
        with_new(&["-k", "100"]),
        with_new(&["-k", "1032"]),
        with_new(&["-g", "10.0.0"]),
        with_new(&["-n", "seventeen.letters"]),
        with_new(&["-f", "sixty-five-letters-are-one-more-than-a-file-system-name-may-have."]),
        vec!["-w", "new", "-t", "server", "-f", ""],
        with_new(&["-f", "a:b"]),
        with_new(&["-f", "a#previous"]),
        with_new(&["-f", "a b"]),
        with_new(&["-f", "a/b"]),
        with_new(&["-f", "a\x1b[2J"]),
        with_new(&["-n", "a:b"]),
        with_new(&["--no-such-option"]),
    ] {
        let err = bench.refused(&words);
        assert!(err.contains("error:") || err.starts_with("lgss_sk: "), "{words:?}: {err}");
    }
    let many = (1..=17).map(|last| format!("10.0.0.{last}@tcp")).collect::<Vec<_>>().join(",");
    assert!(bench.refused(&["-w", "new", "-t", "mgs", "-g", &many]).contains("17 MGS NIDs"));
    assert_eq!((bench.files(), bench.bytes("key")), (vec!["key".to_owned()], before));
    assert!(bench.names().is_empty());
}

#[test]
fn a_file_without_an_operation_is_told_from_a_word_with_a_slip() {
    let bench = Bench::new();
    assert!(bench.refused(&["key"]).contains("name an operation before the file"));
    assert!(bench.refused(&["lits"]).contains("'list'"));
}

#[test]
fn no_key_is_made_for_nobody() {
    let bench = Bench::new();
    bench.make("key", "server");
    let before = bench.bytes("key");
    for (words, said) in [
        (&["-w", "new", "-t", "server", "-g", ""][..], "--write needs --fsname or --mgsnids"),
        (&["-w", "new", "-t", "server", "-f", "x", "-n", ""], "a nodemap has a name"),
        (&["-m", "key", "-n", ""], "a nodemap has a name"),
    ] {
        let err = bench.refused(words);
        assert!(err.contains(said), "{words:?}: {err}");
    }
    assert_eq!((bench.files(), bench.bytes("key")), (vec!["key".to_owned()], before));
}

#[test]
fn help_and_version_are_no_failures() {
    let bench = Bench::new();
    for words in [["-h"], ["--help"], ["-V"], ["--version"]] {
        let (out, err) = bench.done(&words);
        assert!(out.contains("lgss_sk") && err.is_empty(), "{out}{err}");
    }
}

#[test]
fn an_option_without_effect_is_named_and_does_no_harm() {
    let bench = Bench::new();
    bench.make("key", "server");
    let (_, err) = bench.done(&["-r", "key", "-e", "100", "-a"]);
    assert_eq!(
        err,
        "lgss_sk: --ascii has no effect with --read\nlgss_sk: --expire has no effect with --read\n"
    );
    let before = bench.bytes("key");
    let (_, err) = bench.done(&["-m", "key", "-k", "512"]);
    assert_eq!(
        (err.as_str(), bench.bytes("key")),
        ("lgss_sk: --key-bits has no effect with --modify\n", before)
    );
    let (_, err) = bench.done(&["-l", "key", "-f", "other"]);
    assert_eq!(err, "lgss_sk: --fsname has no effect with --load\n");
    assert_eq!(bench.names(), [format!("lustre:{}:{}", bench.file_system, bench.nodemap)]);
    let (_, err) = bench.done(&["-R", "key", "-n", "other"]);
    assert_eq!((err.as_str(), bench.names()), ("lgss_sk: --nodemap has no effect with --remove\n", vec![]));
}

#[test]
fn values_are_taken_up_to_the_limits_that_the_help_names() {
    let bench = Bench::new();
    let nids = (1..=16).map(|last| format!("10.0.0.{last}@tcp")).collect::<Vec<_>>().join(",");
    let (long, nodemap) = ("f".repeat(64), "n".repeat(16));
    let new = |name, more: &[&str]| {
        bench.done(&[&["-w", name, "-t", "server", "-f", &long, "-n", &nodemap, "-g", &nids], more].concat())
    };
    new("least", &["-k", "8", "-p", "512", "-e", "60"]);
    new("most", &["-k", "1024", "-p", "16384", "-e", "2147483647"]);
    let (help, _) = bench.done(&["--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for limit in [
        "At most 64 bytes: printable ASCII characters, without blanks and without : # /",
        "At most 16. With --modify",
        "At most 16 bytes",
        "8 to 1024 bits, a multiple of 8",
        "512 to 16384 bits, a multiple of 8",
        "60 to 2147483647",
    ] {
        assert!(help.contains(limit), "{limit}: {help}");
    }
}

#[test]
fn a_failure_that_a_command_can_mend_names_the_command() {
    let bench = Bench::new();
    bench.make("key", "server");
    std::os::unix::fs::symlink("key", bench.path("link")).unwrap();
    let new = ["-w", "new", "-t", "server", "-f", "x"];
    for (words, remedy) in [
        ([&new[..], &["-k", "100"]].concat(), "--key-bits 104"),
        ([&new[..], &["-p", "1020"]].concat(), "--prime-bits 1024"),
        (vec!["-w", "none/key", "-t", "server", "-f", "x"], "mkdir -p none"),
        (vec!["-R", "key"], "lgss_sk list"),
        (vec!["-l", "key", "-u", "."], "cp key COPY && lgss_sk -t client -m COPY"),
        (vec!["-m", "link"], "readlink -f link"),
    ] {
        let err = bench.refused(&words);
        let tried = err.split("  try:    ").nth(1);
        assert!(tried.is_some_and(|tried| tried.contains(remedy)), "{words:?}: {err}");
    }
    bench.set_mode(".", 0o755);
    let (_, _, err) = outcome(bench.command(&["-r", "key"]).uid(65534).gid(65534).output().unwrap());
    assert!(
        err.contains("Permission denied") && err.contains("try:    run this as the file's owner"),
        "{err}"
    );
}

/// Whoever looks for the words of a failure in docs/troubleshooting.md finds them.
#[test]
fn what_goes_wrong_with_keys_and_their_files_is_in_the_page_on_troubleshooting() {
    let bench = Bench::new();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md")).unwrap();
    bench.make("key", "server");
    let absent = bench.refused(&["-R", "key"]);
    bench.done(&["-w", "nameless", "-t", "server", "-g", &bench.nid]);
    let nameless = bench.refused(&["-l", "nameless"]);
    fs::write(bench.path("broken"), "Lustre SSK\n").unwrap();
    let broken = bench.refused(&["-r", "broken"]);
    bench.set_mode("key", 0o440);
    let open = bench.refused(&["-l", "key"]);
    bench.set_mode("key", 0o400);
    std::os::unix::fs::chown(bench.path("key"), Some(65534), None).unwrap();
    let (_, foreign) = bench.done(&["-l", "key"]);
    bench.done(&["rotate", "key"]);
    let again = bench.refused(&["rotate", "key"]);
    bench.set_mode(".", 0o755);
    let (_, _, user) = outcome(bench.command(&["-R", "key"]).uid(65534).gid(65534).output().unwrap());
    for (said, words) in [
        (absent, "not loaded"),
        (nameless, "no file system name"),
        (broken, "not a shared key"),
        (open, "its mode is"),
        (foreign, "belongs to uid"),
        (again, "already"),
        (user, "only root can do this"),
    ] {
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(words));
        assert!(said.contains(words) && row.is_some(), "{words}: {said}");
    }
    assert!(page.contains("root's user keyring cannot be used"));
}

#[test]
fn only_root_can_load_list_and_remove() {
    let bench = Bench::new();
    bench.make("key", "server");
    bench.set_mode(".", 0o755);
    bench.set_mode("key", 0o404);
    let as_nobody = |words: &[&str]| outcome(bench.command(words).uid(65534).gid(65534).output().unwrap());
    for words in [&["-l", "key"][..], &["-R", "key"], &["list"]] {
        let (status, _, err) = as_nobody(words);
        let said = ["only root can do this", "not root"].iter().any(|said| err.contains(said));
        assert!(status == 1 && said && err.contains("try:"), "{words:?}: {err}");
    }
    let (status, out, err) = as_nobody(&["-r", "key"]);
    assert!(status == 0 && out.contains(&bench.file_system), "{out}{err}");
}

#[test]
fn the_secret_is_shown_only_where_that_is_asked_for() {
    let bench = Bench::new();
    bench.make("key", "client,server");
    let secret: String = bench.bytes("key")[SECRET].iter().map(|byte| format!("{byte:02x}")).collect();
    let flat = |text: &str| text.replace([' ', '\n'], "");
    bench.done(&["-l", "key"]);
    for words in
        [&["-r", "key", "-v"][..], &["-m", "key", "-v"], &["-l", "key", "-v"], &["list"], &["list", "--json"]]
    {
        let (out, err) = bench.done(words);
        let all = flat(&out) + &flat(&err);
        assert!(
            !secret.as_bytes().chunks(8).any(|part| all.contains(std::str::from_utf8(part).unwrap())),
            "{all}"
        );
    }
    let (out, _) = bench.done(&["-r", "key", "--show-secret"]);
    let shown: String =
        out.split("Shared key:\n").nth(1).unwrap().lines().take(2).map(|line| &line[8..]).collect();
    assert_eq!(flat(&shown), secret);
}

#[test]
fn a_shell_completes_options_and_values() {
    let bench = Bench::new();
    let completed = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let mut command = bench.command(&[]);
        command.arg("--").args(words).env("LGSS_SK_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index);
        let (status, out, err) = outcome(command.env("_CLAP_IFS", "\n").output().unwrap());
        assert_eq!((status, err.as_str()), (0, ""));
        out
    };
    assert!(completed(&["lgss_sk", "--pr"]).contains("--prime-bits"));
    assert!(completed(&["lgss_sk", "--crypt", ""]).contains("AES-256-CTR"));
    assert!(completed(&["lgss_sk", "ro"]).contains("rotate"));
    for shell in ["bash", "zsh", "fish"] {
        let (status, function, _) =
            outcome(bench.command(&[]).env("LGSS_SK_COMPLETE", shell).output().unwrap());
        assert!(status == 0 && function.contains("lgss_sk"), "{shell}: {function}");
    }
}
