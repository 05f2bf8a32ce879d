//! `lgss show` and the failures of `lgss get` on real kernel keys; each test has its own session keyring.
//!
//! Needs a kernel with keys. tests/upcall covers `get` with an upcall.
#![expect(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use lgss::crypto::enctype::Enctype;
use lgss::crypto::mic::KeyOrigin;
use lgss::ctx::{BaseKey, Context, Handle, SeqWindow};
use lgss::private_to_lgss::ctx::user;
use lgss::private_to_lgss::event::{Cause, Failure, Stage};
use lgss::private_to_lgss::sys::keyctl;
use lgss::secret::Secret;
use serde_json::Value;

const LABEL: &std::ffi::CStr = c"lgss:1000:nfs@srv.example.test";

/// Makes a key in a new session keyring of this thread, which the programs it starts inherit.
fn key_with(payload: &[u8]) -> i32 {
    let session = keyctl::join_anonymous_session().unwrap();
    keyctl::add(c"user", LABEL, payload, session).unwrap()
}

fn lgss(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lgss")).args(words).stdin(Stdio::null()).output().unwrap()
}

/// Exit status, stdout and stderr.
fn run(words: &[&str]) -> (i32, String, String) {
    let output = lgss(words);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(key: i32) -> Value {
    let (status, out, _) = run(&["show", &key.to_string(), "--json"]);
    assert_eq!(status, 0);
    serde_json::from_str(&out).unwrap()
}

fn context(lifetime: u64) -> Context {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Context {
        window: SeqWindow::new(32).unwrap(),
        handle: Handle::new(b"QXQXQXQXQXQXQXQX").unwrap(),
        base_key: BaseKey::new(Enctype::Aes128Sha256, Secret::new(b"ZWZWZWZWZWZWZWZW".to_vec())).unwrap(),
        key_origin: KeyOrigin::AcceptorSubkey,
        endtime: u32::try_from(now + lifetime).unwrap(),
        send_sequence: 1,
        initiator: None,
    }
}

#[test]
fn an_established_context_is_shown_without_a_byte_of_its_key() {
    let key = key_with(user::established(&context(36_000)).unwrap().as_slice());
    let (status, out, err) = run(&["show", &key.to_string()]);
    assert_eq!((status, err.as_str()), (0, ""));
    for line in [
        format!("key       {key} ({key:08x})"),
        "state     established".to_owned(),
        "service   nfs@srv.example.test".to_owned(),
        "window    32".to_owned(),
        "handle    16 bytes".to_owned(),
        "enctype   aes128-cts-hmac-sha256-128 (acceptor's subkey)".to_owned(),
    ] {
        assert!(out.contains(&format!("{line}\n")), "{line} is not in\n{out}");
    }
    let shown = json(key);
    assert_eq!((&shown["state"], &shown["serial"]), (&Value::from("established"), &Value::from(key)));
    assert_eq!(shown["context"]["handle_length"], 16);
    assert!((35_990..=36_000).contains(&shown["context"]["lifetime_left"].as_u64().unwrap()));
    let all = format!("{out}{shown}");
    for secret in ["ZWZW", "QXQX", "5A575A57", "51585158", "90, 87", "81, 88"] {
        assert!(!all.to_uppercase().contains(secret), "{secret} in {all}");
    }
}

#[test]
fn every_state_has_its_word() {
    let key = key_with(user::in_progress().as_slice());
    assert_eq!(json(key)["state"], "in_progress");
    let failure = Failure::new(Stage::Kdc, Cause::KdcSilent, "").with_gss_major(0x000d_0000);
    keyctl::update(key, user::failed(&failure).as_slice()).unwrap();
    let failed = json(key);
    assert_eq!(
        (&failed["state"], &failed["failure"]["errno"]),
        (&Value::from("failed"), &Value::from("ETIMEDOUT"))
    );
    assert_eq!(failed["failure"]["gss_major"], 0x000d_0000);
    keyctl::update(key, user::established(&context(0)).unwrap().as_slice()).unwrap();
    assert_eq!(json(key)["state"], "expired", "the context has ended, its key not yet");
    keyctl::set_timeout(key, std::time::Duration::from_secs(1)).unwrap();
    let begun = std::time::Instant::now();
    while keyctl::read(key).map(|_| ()) != Err(nix::errno::Errno::EKEYEXPIRED) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the kernel does not let it expire");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(json(key)["state"], "expired");
    let other = key_with(user::in_progress().as_slice());
    keyctl::revoke(other).unwrap();
    assert_eq!(json(other)["state"], "revoked");
}

#[test]
fn a_failure_is_told_with_cause_and_remedy() {
    let failure = Failure::new(Stage::Credentials, Cause::NoTicket, "");
    let key = key_with(user::failed(&failure).as_slice());
    let (status, out, _) = run(&["show", &format!("{key:#x}")]);
    assert_eq!(status, 0);
    assert!(
        out.contains("failure   ENOKEY: no usable ticket was found\nremedy    get a ticket with kinit"),
        "{out}"
    );
    assert!(out.contains("reason    in the log of this machine"), "{out}");
}

#[test]
fn a_key_of_another_session_is_described_and_the_refusal_explained() {
    let key = key_with(user::in_progress().as_slice());
    // The link in the first session keyring goes with it; this link keeps the key, but does not lead the reader to it.
    keyctl::link(key, keyctl::PROCESS_KEYRING).unwrap();
    keyctl::join_anonymous_session().unwrap();
    let (status, out, err) = run(&["show", &key.to_string()]);
    assert_eq!(status, 6);
    assert!(out.contains("state     unknown") && out.contains("service   nfs@srv.example.test"), "{out}");
    assert!(err.contains("only its possessor may"), "{err}");
}

#[test]
fn what_is_no_context_is_not_taken_for_one() {
    let session = keyctl::join_anonymous_session().unwrap();
    let other = keyctl::add(c"user", c"lgss:1000:nfs@h", b"not a payload", session).unwrap();
    let unrelated = keyctl::add(c"user", c"password\n\x1b[2J", b"x", session).unwrap();
    for key in [other, unrelated, session] {
        let (status, out, err) = run(&["show", &key.to_string()]);
        assert_eq!(status, 6, "{out}{err}");
        assert!(err.contains("is not that of a context") && !out.contains('\x1b'), "{out}{err}");
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_other_reading_of_its_digits() {
    let (status, out, err) = run(&["show", "10000001"]);
    assert_eq!((status, out.as_str()), (6, ""));
    assert!(err.contains("write 0x10000001"), "{err}");
}

#[test]
fn a_cache_that_cannot_be_named_is_a_usage_error_before_anything_is_requested() {
    let (status, _, err) = run(&["get", "nfs@h", "--channel", "rpc:h:1,2,3", "--cache", "MEMORY:x"]);
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("--cache: ") && err.contains("MEMORY"), "{err}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let key = key_with(user::in_progress().as_slice());
    let mut child = Command::new(env!("CARGO_BIN_EXE_lgss"))
        .args(["show", &key.to_string()])
        .stdout({
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        })
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(0), ""));
}
