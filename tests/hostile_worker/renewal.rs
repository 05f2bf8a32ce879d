//! A worker that an agent has renew a ticket, and that answers something else. The cache's name is the name of the attack.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

pub(super) fn attack() {
    // SAFETY: by the starter's contract, descriptors 3 and 4 are the pipes from and to the agent, and they are ours.
    let [mut order, mut answer] = [3, 4].map(|number| unsafe { File::from_raw_fd(number) });
    for pipe in [&order, &answer] {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("a pipe that waits");
    }
    let mut message = Vec::new();
    order.read_to_end(&mut message).expect("an order");
    let length = u32::from_be_bytes(message[..4].try_into().unwrap()) as usize;
    let (json, cache) = message[4..].split_at(length);
    let json: serde_json::Value = serde_json::from_slice(json).expect("an order in JSON");
    let attack = json["cache"].as_str().expect("a cache").trim_start_matches("KCM:");
    let said = match attack {
        "garbage" => b"garbage".to_vec(),
        "nothing" => Vec::new(),
        "same" => cache.to_vec(),
        "half" => cache[..cache.len() / 2].to_vec(),
        "client" => renamed(cache, b"alice", b"malic"),
        "service" => renamed(cache, b"krbtgt", b"krbtgx"),
        "doubled" => [cache, cache].concat(),
        "forged" => forged_failure(),
        "endless" => loop {
            answer.write_all(&[5; 4096]).expect("a reader");
        },
        "silent" => loop {
            std::thread::park();
        },
        other => panic!("{other}"),
    };
    // A reader that has had enough is none of ours.
    let _ = answer.write_all(&said);
}

fn renamed(cache: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut renamed = cache.to_vec();
    let places = cache.windows(from.len()).enumerate().filter(|(_, part)| *part == from);
    places.for_each(|(at, _)| renamed[at..at + to.len()].copy_from_slice(to));
    assert_ne!(renamed, cache);
    renamed
}

/// A failure whose words would be a second line of the log.
fn forged_failure() -> Vec<u8> {
    let words = "as told\n<38>sshd[1]: Accepted password for root";
    serde_json::json!({ "stage": "kdc", "cause": "kdc_down", "detail": words, "gss_major": 0 })
        .to_string()
        .into_bytes()
}
