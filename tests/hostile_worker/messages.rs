//! Every message that a worker must not send, by the name of its attack.

use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;

const REQUEST: u8 = 1;
const ESTABLISHED: u8 = 2;
const FAILED: u8 = 3;
const TOKEN: u8 = 4;
const REPLY: u8 = 5;
const READY: u8 = 6;
const SHARED: u8 = 8;
const TESTED_PRIME: u8 = 9;

/// The longest frame that the monitor takes, and the longest body in one.
const FRAME_LIMIT: usize = 288 * 1024;
const BODY_LIMIT: usize = 256 * 1024;

/// Sends the message and returns, which ends the worker; stays silent if silence is the attack.
pub(crate) fn attack(name: &str, monitor: &mut File) {
    let bytes = match name {
        "unknown-kind" => frame(10, &json!({}), &[], &[]),
        "shared-key-nobody-asked-for" => shared(),
        "prime-nobody-asked-for" => frame(TESTED_PRIME, &json!({"candidate": 0}), &[], &[]),
        "kind-0" => frame(0, &json!({}), &[], &[]),
        "request-back" => frame(REQUEST, &json!({"service": "nfs@h"}), &[], &[]),
        "token-nobody-wants" => frame(TOKEN, &json!([]), &[7; 100], &[]),
        "reply" => frame(REPLY, &json!({"gss_major": 0, "gss_minor": 0, "window": 1}), &[7; 100], &[7; 8]),
        "credentials-nobody-wants" => frame(READY, &json!({"good_until": u32::MAX}), &[7; 100], &[]),
        "oversized" => [&u32::MAX.to_ne_bytes()[..], &[0; 64]].concat(),
        "empty-frame" => vec![0; 4],
        "trailing" => {
            let mut bytes = established(|_| {}, &[7; 32], &[7; 16]);
            let length = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) + 3;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes.extend([1, 2, 3]);
            bytes
        }
        "unknown-field" => established(|context| context["uid"] = json!(0), &[7; 32], &[7; 16]),
        "lacking-field" => {
            established(|context| drop(context.as_object_mut().unwrap().remove("window")), &[7; 32], &[7; 16])
        }
        "negative-window" => established(|context| context["window"] = json!(-1), &[7; 32], &[7; 16]),
        "window-0" => established(|context| context["window"] = json!(0), &[7; 32], &[7; 16]),
        "empty-handle" => established(|_| {}, &[7; 32], &[]),
        "huge-handle" => established(|_| {}, &[7; 32], &[7; 513]),
        "short-key" => established(|_| {}, &[7; 16], &[7; 16]),
        "long-key" => established(|_| {}, &[7; 64], &[7; 16]),
        "null-key" => established(|_| {}, &[0; 32], &[7; 16]),
        "no-key" => established(|_| {}, &[], &[7; 16]),
        "wrong-enctype" => established(|context| context["enctype"] = json!(23), &[7; 16], &[7; 16]),
        "ended" => established(|context| context["endtime"] = json!(1), &[7; 32], &[7; 16]),
        "no-lifetime" => established(|context| context["lifetime"] = json!(0), &[7; 32], &[7; 16]),
        "deep-json" => raw_frame(ESTABLISHED, "[".repeat(4000).as_bytes()),
        "not-json" => raw_frame(ESTABLISHED, &[0xff; 100]),
        "failed-with-key" => frame(FAILED, &failed("x"), &[7; 32], &[]),
        "forged-log" => frame(
            FAILED,
            &failed(&format!("x\nkey 1 uid 0: established\u{1b}[2J{}", "y".repeat(2000))),
            &[],
            &[],
        ),
        "twice" => {
            [established(|_| {}, &[7; 32], &[7; 16]), established(|_| {}, &[8; 32], &[8; 16])].concat()
        }
        "partial" => {
            let _ = monitor.write_all(&[200, 0, 0, 0, 2, 1]);
            silence()
        }
        "silence" => silence(),
        // An attack without end, another one, or one that ends without a message.
        _ => return endless(name, monitor),
    };
    let _ = monitor.write_all(&bytes);
    // The monitor has to decide by the message, not by our end.
    silence()
}

/// Sends what has no end, if that is the attack.
fn endless(name: &str, monitor: &mut File) {
    match name {
        "drip" => drip(monitor),
        "flood-of-reports" => flood(monitor, &established(|_| {}, &[7; 32], &[7; 16])),
        "flood-of-credentials" => {
            flood(monitor, &frame(READY, &json!({"good_until": u32::MAX}), &[7; BODY_LIMIT], &[]));
        }
        "flood-of-bytes" => {
            wait_for_the_test();
            let _ = monitor.write_all(&u32::MAX.to_ne_bytes());
            flood(monitor, &[7; 4096]);
        }
        "endless-message" => {
            wait_for_the_test();
            let length = u32::try_from(FRAME_LIMIT).unwrap();
            let _ = monitor.write_all(&[&length.to_ne_bytes()[..], &[READY], &[0; FRAME_LIMIT - 2]].concat());
            silence()
        }
        _ => {}
    }
}

/// A frame that never ends.
fn drip(monitor: &mut File) {
    let _ = monitor.write_all(&4000u32.to_ne_bytes());
    while monitor.write_all(&[0]).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The same again and again, until nobody reads it.
fn flood(monitor: &mut File, bytes: &[u8]) {
    wait_for_the_test();
    while monitor.write_all(bytes).is_ok() {}
}

/// Waits until the test has found the monitor and makes a file; at the upcall's deadline this process is killed.
fn wait_for_the_test() {
    let own = std::fs::read_link("/proc/self/exe").expect("our own name");
    let sign = own.with_file_name("user").join("go");
    while !sign.exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn silence() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// An acceptable report, changed.
fn established(change: impl FnOnce(&mut Value), key: &[u8], handle: &[u8]) -> Vec<u8> {
    let endtime =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let mut context = json!({
        "enctype": 18, "acceptor_subkey": true, "endtime": endtime, "send_sequence": 1, "lifetime": 3600,
        "window": 32, "credential": "nobody", "principal": "nobody@R", "unmet": null, "server": "nfs/h@R",
        "considered": considered(), "stages": [],
    });
    change(&mut context);
    frame(ESTABLISHED, &context, key, handle)
}

/// A context by a shared key.
fn shared() -> Vec<u8> {
    let context = json!({
        "candidate": 0, "host_random": [1, 2, 3, 4], "peer_random": [4, 3, 2, 1], "remark": null, "stages": [],
    });
    frame(SHARED, &context, &[7; 32], &[])
}

fn failed(detail: &str) -> Value {
    json!({
        "failure": { "stage": "kdc", "cause": "no_ticket", "detail": detail, "gss_major": 0 },
        "considered": considered(),
        "stages": [],
    })
}

fn considered() -> Value {
    json!({ "chosen": null, "others": [], "more": 0 })
}

fn frame(kind: u8, control: &Value, key: &[u8], handle: &[u8]) -> Vec<u8> {
    let parts = [control.to_string().as_bytes(), key, handle].map(opaque).concat();
    let length = u32::try_from(parts.len() + 1).unwrap();
    [&length.to_ne_bytes()[..], &[kind], &parts].concat()
}

fn raw_frame(kind: u8, control: &[u8]) -> Vec<u8> {
    let parts = [opaque(control), opaque(&[]), opaque(&[])].concat();
    [&u32::try_from(parts.len() + 1).unwrap().to_ne_bytes()[..], &[kind], &parts].concat()
}

fn opaque(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_ne_bytes()[..], bytes].concat()
}
