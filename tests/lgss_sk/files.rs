//! Key files: both forms, what a change keeps, what is refused, and that nothing is lost.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Bench, LENGTH, PRIME, SECRET};

#[test]
fn both_forms_hold_the_same_and_a_change_keeps_the_form() {
    let bench = Bench::new();
    bench.make("binary", "server");
    fs::copy(bench.path("binary"), bench.path("text")).unwrap();
    bench.done(&["-m", "text", "--ascii"]);
    let text = String::from_utf8(bench.bytes("text")).unwrap();
    assert!(text.starts_with("Lustre SSK v1.0\n") && text.len() > LENGTH);
    let shown = |name| bench.done(&["-r", name, "--show-secret"]).0;
    assert_eq!(shown("text"), shown("binary"));
    for name in ["text", "binary"] {
        bench.done(&["-m", name, "-n", "guests", "-e", "100"]);
        assert_eq!(bench.mode(name), 0o400);
    }
    assert!(bench.bytes("text").starts_with(b"Lustre SSK v1.0\n"));
    assert_eq!(bench.bytes("binary").len(), LENGTH);
    assert!(shown("text").contains("guests") && shown("text") == shown("binary"));
    bench.done(&["-w", "new", "-a", "-t", "server", "-f", "x"]);
    assert!(bench.bytes("new").starts_with(b"Lustre SSK v1.0\n"));
}

#[test]
fn a_change_touches_nothing_but_what_it_names() {
    let bench = Bench::new();
    bench.make("key", "client");
    let before = bench.bytes("key");
    bench.done(&["-m", "key"]);
    assert_eq!(bench.bytes("key"), before);
    bench.done(&["-m", "key", "-e", "3600"]);
    let after = bench.bytes("key");
    assert_eq!(after[8..12], 3600u32.to_be_bytes());
    assert_eq!((&after[..8], &after[12..]), (&before[..8], &before[12..]));
    let (_, said) = bench.done(&["-m", "key", "-g", "10.0.0.1@tcp", "-f", "", "-c", "null", "-i", "SHA512"]);
    assert!(said.contains("key is for tests only: with --crypt NONE nothing is encrypted, and"), "{said}");
    let (shown, _) = bench.done(&["-r", "key"]);
    for line in [
        "File system:\n",
        "MGS NIDs:       10.0.0.1@tcp\n",
        "Crypto alg:     NONE\n",
        "HMAC alg:       SHA512\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(bench.bytes("key")[SECRET], before[SECRET]);
}

#[test]
fn a_key_without_an_algorithm_is_told_with_the_option_that_makes_it_weak() {
    let bench = Bench::new();
    bench.make("key", "server");
    for (options, said) in [
        (
            &["-c", "null"][..],
            "key is for tests only: with --crypt NONE nothing is encrypted, and the key that",
        ),
        (&["-i", "null"], "key is for tests only: with --crypt NONE and --hmac NONE nothing is"),
        (&["-c", "ctr(aes)"], "key serves no client: with --hmac NONE"),
    ] {
        let (_, err) = bench.done(&[&["-m", "key"], options].concat());
        assert!(err.starts_with(&format!("lgss_sk: {said}")), "{options:?}: {err}");
    }
    assert_eq!(bench.done(&["-m", "key", "-i", "sha256"]).1, "");
}

#[test]
fn a_client_has_a_prime_and_nobody_else() {
    let bench = Bench::new();
    bench.make("key", "server");
    let (secret, zeros) = (bench.bytes("key")[SECRET].to_vec(), vec![0; LENGTH - PRIME.start]);
    assert_eq!(bench.bytes("key")[PRIME.start..], zeros);
    bench.done(&["-m", "key", "-t", "client"]);
    let prime = bench.bytes("key")[PRIME].to_vec();
    // 512 bits, and 23 modulo 24, as for the generator 2.
    assert!(prime[0] >= 0x80 && remainder(&prime, 24) == 23);
    bench.done(&["-m", "key", "-t", "client,server", "-n", "guests"]);
    assert_eq!(bench.bytes("key")[PRIME], prime, "a prime that fits stays");
    bench.done(&["-m", "key", "-p", "520"]);
    let longer = bench.bytes("key")[PRIME.start..PRIME.start + 65].to_vec();
    assert!(longer[0] >= 0x80 && longer[..64] != prime && remainder(&longer, 24) == 23);
    bench.done(&["-m", "key", "-t", "mgs"]);
    assert_eq!(bench.bytes("key")[PRIME.start..], zeros);
    assert_eq!(bench.bytes("key")[SECRET], secret);
}

fn remainder(number: &[u8], modulus: u32) -> u32 {
    number.iter().fold(0, |rest, &digit| (rest * 256 + u32::from(digit)) % modulus)
}

#[test]
fn keys_are_random_or_the_bytes_of_a_file() {
    let bench = Bench::new();
    bench.make("one", "server");
    bench.make("other", "server");
    assert_ne!(bench.bytes("one")[SECRET], bench.bytes("other")[SECRET]);
    let secret: Vec<u8> = (1..=40).collect();
    fs::write(bench.path("data"), &secret).unwrap();
    let make = |name, more: &[&str]| {
        bench.run(&[&["-w", name, "-t", "server", "-f", "x", "-d", "data"], more].concat())
    };
    let (status, _, err) = make("first", &[]);
    assert!(status == 0 && err.contains("the first 32 bytes"), "{err}");
    assert_eq!(bench.bytes("first")[SECRET], secret[..32]);
    assert_eq!(make("all", &["-k", "320"]), (0, String::new(), String::new()));
    assert_eq!(bench.bytes("all")[SECRET.start..SECRET.start + 41], [&secret[..], &[0]].concat());
    let (status, _, err) = make("short", &["-k", "512"]);
    assert!(status == 1 && err.contains("40 bytes") && err.contains("--key-bits 320"), "{err}");
    assert!(!bench.files().contains(&"short".to_owned()));
    bench.done(&["-w", "zeros", "-t", "server", "-f", "x", "-d", "/dev/zero", "-k", "1024"]);
    assert_eq!(bench.bytes("zeros")[SECRET.start..PRIME.start], [0; 128]);
}

#[test]
fn an_existing_file_is_never_overwritten_by_a_new_one() {
    let bench = Bench::new();
    bench.make("key", "server");
    let before = bench.bytes("key");
    symlink("nowhere", bench.path("link")).unwrap();
    for name in ["key", "link"] {
        let err = bench.refused(&["-w", name, "-t", "server", "-f", "x"]);
        assert!(err.contains("exists already") && err.contains("try:"), "{err}");
    }
    assert_eq!((bench.bytes("key"), bench.files()), (before, vec!["key".to_owned(), "link".to_owned()]));
    for name in ["none/key", "key/below", "directory/", ".."] {
        bench.refused(&["-w", name, "-t", "server", "-f", "x"]);
    }
}

#[test]
fn a_link_is_not_followed_to_what_it_leads_to_where_that_would_be_written() {
    let bench = Bench::new();
    bench.make("key", "server");
    let before = bench.bytes("key");
    symlink("key", bench.path("link")).unwrap();
    for words in [&["-m", "link", "-e", "100"][..], &["-l", "link", "-t", "client"], &["rotate", "link"]] {
        assert!(bench.refused(words).contains("symbolic link"), "{words:?}");
    }
    bench.done(&["-r", "link"]);
    assert_eq!((bench.bytes("key"), bench.files()), (before, vec!["key".to_owned(), "link".to_owned()]));
}

#[test]
fn what_is_no_key_is_refused_with_the_reason_and_stays_as_it_is() {
    let bench = Bench::new();
    bench.make("key", "server");
    let good = bench.bytes("key");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (content, reason) in [
        (Vec::new(), "it is empty"),
        (good[..LENGTH - 1].to_vec(), "2406 bytes"),
        (vec![0; 20_000], "more than 16384 bytes"),
        (with(3, 2), "version is 2"),
        (with(20, 0), "no type"),
        (
            b"Lustre SSK v1.1\nAAAA".to_vec(),
            "not a shared key: it has 20 bytes, where the binary form has 2407, and it does not begin with the line \
             \"Lustre SSK v1.0\", as the text form does",
        ),
        (b"Lustre SSK v1.0\n%%%".to_vec(), "base64url"),
        (b"Lustre SSK v1.0\nAAAA".to_vec(), "3 bytes"),
    ] {
        fs::write(bench.path("bad"), &content).unwrap();
        bench.set_mode("bad", 0o600);
        for words in [&["-r", "bad"][..], &["-m", "bad"], &["-l", "bad"], &["-R", "bad"], &["rotate", "bad"]]
        {
            let err = bench.refused(words);
            assert!(err.contains("not a shared key") && err.contains(reason), "{words:?}: {err}");
            assert!(err.contains("try:    copy the file again"), "{words:?}: {err}");
        }
        assert_eq!(bench.bytes("bad"), content);
    }
    nix::unistd::mkfifo(&bench.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(bench.refused(&["-r", "fifo"]).contains("not a regular file"));
    assert!(bench.refused(&["-r", "."]).contains("not a regular file"));
    assert!(bench.refused(&["-r", "none"]).contains("No such file"));
    assert_eq!(bench.files(), ["bad", "fifo", "key"]);
}

#[test]
fn an_interrupted_search_for_a_prime_leaves_everything_as_it_was() {
    let bench = Bench::new();
    bench.make("key", "server");
    let before = bench.bytes("key");
    for words in [
        &["-w", "new", "-t", "client", "-f", "x", "-p", "8192"][..],
        &["-m", "key", "-t", "client", "-p", "8192"],
        &["-l", "key", "-t", "client", "-p", "8192"],
    ] {
        let mut child = bench.interruptible(words).stderr(Stdio::piped()).spawn().unwrap();
        let (pid, deadline) = (child.id(), Instant::now() + Duration::from_secs(30));
        // A second thread searches.
        while fs::read_dir(format!("/proc/{pid}/task")).unwrap().count() < 2 {
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "{words:?}: no search");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(searching_threads_take_no_ending_signal(pid), "{words:?}");
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGINT).unwrap();
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("{words:?}: the search goes on");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(!child.wait().unwrap().success(), "{said}");
        assert_eq!(
            (bench.files(), bench.bytes("key")),
            (vec!["key".to_owned()], before.clone()),
            "{words:?}"
        );
        assert!(bench.names().is_empty());
    }
}

/// They are still there while the file is written, in which the main thread lets such signals wait.
fn searching_threads_take_no_ending_signal(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let ids = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap());
    ids.filter(|id| *id != pid.to_string()).all(|id| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{id}/status")).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
        let blocked = u64::from_str_radix(blocked, 16).unwrap();
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]
            .iter()
            .all(|signal| blocked & (1 << (*signal as i32 - 1)) != 0)
    })
}

#[test]
fn where_nothing_can_be_written_no_prime_is_looked_for() {
    let bench = Bench::new();
    bench.set_mode(".", 0o755);
    bench.make("key", "server");
    std::os::unix::fs::chown(bench.path("key"), Some(65534), None).unwrap();
    for words in [
        &["-w", "new", "-t", "client", "-f", "x", "-p", "16384"][..],
        &["-m", "key", "-t", "client", "-p", "16384"],
    ] {
        let mut command = bench.command(words);
        let mut child = command.uid(65534).gid(65534).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("{words:?}: a search");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("cannot be written: Permission denied") && said.contains("try:"), "{said}");
    }
    assert_eq!(bench.files(), ["key"]);
}

#[test]
fn a_rewritten_file_stays_its_owners() {
    let bench = Bench::new();
    bench.make("key", "server");
    std::os::unix::fs::chown(bench.path("key"), Some(12), Some(34)).unwrap();
    bench.done(&["-m", "key", "-e", "100"]);
    let metadata = fs::metadata(bench.path("key")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((metadata.uid(), metadata.gid(), bench.mode("key")), (12, 34, 0o400));
}

/// As Lustre's manual has it: keyctl pipe KEY | lgss_sk -r -
#[test]
fn a_key_is_read_from_the_standard_input() {
    let bench = Bench::new();
    bench.make("key", "server");
    let (from_file, _) = bench.done(&["-r", "key"]);
    let read = |input: &str| {
        let file = fs::File::open(bench.path(input)).unwrap();
        bench.command(&["-r", "-"]).stdin(file).output().unwrap()
    };
    let output = read("key");
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), from_file);
    fs::write(bench.path("bad"), "no key").unwrap();
    let output = read("bad");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("-: not a shared key"), "{said}");
    assert!(said.contains("keyctl pipe KEY | lgss_sk -r -"), "{said}");
}
