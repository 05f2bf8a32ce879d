//! A worker that has been taken over: it runs in place of lgss_negotiate and attacks instead of negotiating.
//!
//! The service's name is the name of the attack; the service's host is the abstract datagram socket where the test
//! listens. It writes one line of JSON for each attempt, `{"attempt", "errno"}`, where errno 0 means that a forbidden
//! attempt worked, and finally `{"attempt": "end"}`. With `--renew` it is the worker of a user's agent, see renewal.rs.
#![allow(unsafe_code, reason = "a test program whose purpose is forbidden system calls")]
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test program: it stops where a test would"
)]

mod attempts;
mod calls;
mod captive;
#[path = "../probe/errno.rs"]
mod errno;
mod keys;
mod messages;
mod renewal;
mod rights;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--renew") {
        return renewal::attack();
    }
    // SAFETY: by the launcher's contract, descriptors 3 and 4 are the pipes from and to the monitor, and they are ours.
    let [mut request, mut monitor] = [3, 4].map(|number| unsafe { File::from_raw_fd(number) });
    for pipe in [&request, &monitor] {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("a pipe that waits");
    }
    let text = read_request(&mut request);
    let request: serde_json::Value = serde_json::from_str(&text).expect("a request");
    let service = request["target"]["rpc"]["service"].as_str().expect("a service");
    let (attack, host) = service.split_once('@').expect("service@host");
    let mut report = Report::to(host);
    match attack {
        "keys" => keys::attack(&mut report),
        "files" => rights::files(&mut report),
        "ids" => rights::ids(&mut report),
        "monitor" => rights::monitor(&mut report),
        "forbidden" => captive::make_a_call_that_is_death(&text),
        "captive" => captive::attack(&text, host, &mut report),
        "fork" => rights::fork_and_hold(&mut report),
        "crash" => rights::crash(),
        // The test reads reports of the attacks above only, and of none at all.
        "nothing" => {}
        _ => match attack.strip_prefix("tickets-") {
            Some(serial) => keys::attack_tickets(serial.parse().expect("a serial"), &mut report),
            None => return messages::attack(attack, &mut monitor),
        },
    }
    report.say("end", Err(Errno::ENODATA));
    messages::attack(attack, &mut monitor);
}

fn read_request(monitor: &mut File) -> String {
    let mut number = [0; 4];
    monitor.read_exact(&mut number).expect("a frame");
    let mut frame = vec![0; u32::from_ne_bytes(number) as usize];
    monitor.read_exact(&mut frame).expect("a whole frame");
    let length = u32::from_ne_bytes(frame[1..5].try_into().unwrap()) as usize;
    String::from_utf8(frame[5..5 + length].to_vec()).expect("text")
}

/// Reports each attempt to the test.
struct Report(UnixDatagram);

impl Report {
    fn to(name: &str) -> Self {
        let socket = UnixDatagram::unbound().expect("a socket");
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        socket.connect_addr(&address).expect("the test listens");
        Self(socket)
    }

    fn say(&mut self, attempt: &str, result: Result<(), Errno>) {
        self.say_number(attempt, result.map_or_else(|errno| errno as i32, |()| 0));
    }

    fn say_number(&mut self, attempt: &str, errno: i32) {
        let line = serde_json::json!({ "attempt": attempt, "errno": errno }).to_string();
        // The socket's queue is short, but the test reads it.
        self.0.send(line.as_bytes()).expect("the test reads");
    }
}
