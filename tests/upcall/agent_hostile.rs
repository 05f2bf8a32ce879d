//! Hostile input to `lgss_agent`: it costs the one who sends it a connection, and nobody else anything.

use crate::support::agent::{
    DONE, DoorAgent, FULL, KcmClient, MALFORMED, NO_CACHE, UNSUPPORTED, credential, named, principal, request,
};
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::AsRawFd;

crate::trials![
    malformed_requests_are_answered_and_the_connection_goes_on,
    requests_with_a_false_head_end_their_connection,
    a_request_over_the_limit_is_refused_before_it_is_sent,
    random_bytes_end_no_more_than_their_connection,
    unknown_operations_let_clients_do_it_another_way,
    readers_that_do_not_read_keep_nobody_waiting,
    halves_of_requests_and_hundreds_of_connections_keep_nobody_waiting,
    requests_that_come_together_or_in_pieces_are_answered_in_their_order,
    descriptors_that_come_with_a_request_are_closed,
    a_request_that_stands_still_is_given_up,
];

fn agent(shared: &Shared) -> (Site, DoorAgent) {
    let site = Site::new(shared.realm());
    let agent = DoorAgent::start(&site);
    (site, agent)
}

#[track_caller]
fn expect_alive(agent: &mut DoorAgent) {
    assert_eq!(agent.connect().done(20, &[]), b"0\0");
    assert!(agent.daemon().ended().is_none());
}

/// A cache `0` with a credential for each of these sizes.
fn filled(agent: &DoorAgent, sizes: impl IntoIterator<Item = usize>) -> KcmClient {
    let mut client = agent.connect();
    client.done(4, &named("0", &principal("alice")));
    for (number, size) in sizes.into_iter().enumerate() {
        client.done(6, &named("0", &credential(&format!("svc/h{number}"), size, u32::MAX)));
    }
    client
}

fn malformed_requests_are_answered_and_the_connection_goes_on(shared: &Shared) {
    let (site, mut agent) = agent(shared);
    let mut client = filled(&agent, [10]);
    let good = credential("svc/h", 10, 7);
    let mut many = principal("alice");
    many[4..8].copy_from_slice(&[0xff; 4]);
    for (opcode, parameters) in [
        (4, b"no end of the name".to_vec()),
        (4, named("0", &principal("alice")[..5])),
        (4, named("0", &many)),
        (4, named("0", &[principal("alice"), vec![0]].concat())),
        (4, named(&"x".repeat(256), &principal("alice"))),
        (6, named("0", &good[..good.len() - 1])),
        (6, named("0", &[good.as_slice(), &[0]].concat())),
        (6, named("0", &[])),
        (7, named("0", &[0xff; 8])),
        (7, named("0", &[0; 3])),
        (10, named("0", &[0; 15])),
        (11, named("0", &[0xff; 400])),
        (17, named("0", b"x")),
        (19, vec![0; 17]),
        (20, vec![0]),
        (23, named("0", &[0; 3])),
        (13002, named("0", &[&[0; 4][..], &principal("alice"), &[0xff; 4]].concat())),
    ] {
        assert_eq!(client.call(opcode, &parameters), (MALFORMED, Vec::new()), "{opcode} {parameters:?}");
    }
    // Nothing of it has had an effect.
    let listed = client.done(13001, &named("0", &[]));
    assert_eq!(listed[..4], [0, 0, 0, 1]);
    site.log.wait_for_words(&["lgss_agent", "malformed"]);
    expect_alive(&mut agent);
}

fn requests_with_a_false_head_end_their_connection(shared: &Shared) {
    let (_site, mut agent) = agent(shared);
    for head in [[0, 0, 0, 4, 3, 0, 0, 20], [0, 0, 0, 3, 2, 0, 0, 20], [0, 0, 0, 0, 2, 0, 0, 20]] {
        let mut client = agent.connect();
        client.send(&head).unwrap();
        assert_eq!(client.reply().unwrap().0, MALFORMED);
        assert!(client.is_closed(), "{head:?}");
    }
    expect_alive(&mut agent);
}

fn a_request_over_the_limit_is_refused_before_it_is_sent(shared: &Shared) {
    let (site, mut agent) = agent(shared);
    for (opcode, length) in [(6, 400 * 1024_u32), (13002, 11 * 1024 * 1024), (99, u32::MAX), (20, u32::MAX)] {
        let mut client = agent.connect();
        let opcode: u16 = opcode;
        client.send(&[&length.to_be_bytes()[..], &[2, 0], &opcode.to_be_bytes()].concat()).unwrap();
        assert_eq!(client.reply().unwrap(), (FULL, Vec::new()), "{opcode}");
        assert!(client.is_closed());
    }
    site.log.wait_for_words(&["is not read", "agent.max_ticket_size"]);
    expect_alive(&mut agent);
}

fn random_bytes_end_no_more_than_their_connection(shared: &Shared) {
    let (_site, mut agent) = agent(shared);
    let mut noise = File::open("/dev/urandom").unwrap();
    for round in 0..200_u16 {
        let mut bytes = vec![0; 1 + usize::from(round)];
        std::io::Read::read_exact(&mut noise, &mut bytes).unwrap();
        let mut client = agent.connect();
        // Half of them as the parameters of some operation.
        let bytes = if round % 2 == 0 { bytes } else { request(round % 30, &bytes) };
        // It may be closed before all is sent.
        let _ = client.send(&bytes);
        let _ = client.socket().shutdown(std::net::Shutdown::Write);
        while client.reply().is_some() {}
    }
    expect_alive(&mut agent);
}

fn unknown_operations_let_clients_do_it_another_way(shared: &Shared) {
    let (_site, agent) = agent(shared);
    let mut client = agent.connect();
    for opcode in [1, 2, 12, 13, 14, 15, 16, 24, 28, 13000, 13003, u16::MAX] {
        assert_eq!(client.call(opcode, b"anything").0, UNSUPPORTED, "{opcode}");
    }
    assert_eq!(client.call(0, &[]).0, DONE);
}

/// Six of them could take more than all replies together may.
fn readers_that_do_not_read_keep_nobody_waiting(shared: &Shared) {
    let (_site, mut agent) = agent(shared);
    let mut client = filled(&agent, [180 * 1024; 50]);
    let slow: Vec<KcmClient> = (0..6)
        .map(|_| {
            let mut slow = agent.connect();
            slow.send(&request(13001, &named("0", &[]))).unwrap();
            slow.peek();
            slow
        })
        .collect();
    // With so much under way, the list comes one by one.
    let ids = client.done(9, &named("0", &[]));
    assert_eq!(ids.len(), 50 * 16);
    let (status, _) = client.call(13001, &named("0", &[]));
    assert_eq!(status, UNSUPPORTED);
    let first = client.done(10, &named("0", &ids[..16]));
    assert_eq!(first, credential("svc/h0", 180 * 1024, u32::MAX));
    drop(slow);
    expect_alive(&mut agent);
}

fn halves_of_requests_and_hundreds_of_connections_keep_nobody_waiting(shared: &Shared) {
    let (_site, mut agent) = agent(shared);
    let mut all = Vec::new();
    for number in 0..700 {
        let mut client = agent.connect();
        // Among them are idle ones, which make room.
        if number % 4 == 0 {
            client.send(&[0, 0, 0, 9, 2, 0]).unwrap();
        } else {
            assert_eq!(client.done(20, &[]), b"0\0", "{number}");
        }
        all.push(client);
    }
    expect_alive(&mut agent);
}

fn requests_that_come_together_or_in_pieces_are_answered_in_their_order(shared: &Shared) {
    let (_site, agent) = agent(shared);
    let mut client = agent.connect();
    let mut requests = Vec::new();
    for number in 0..40 {
        requests.extend(request(4, &named(&format!("c{number}"), &principal("alice"))));
        requests.extend(request(21, &named(&format!("c{number}"), &[])));
        requests.extend(request(20, &[]));
    }
    for piece in requests.chunks(7) {
        client.send(piece).unwrap();
    }
    for number in 0..40 {
        assert_eq!((client.reply().unwrap().0, client.reply().unwrap().0), (DONE, DONE));
        assert_eq!(client.reply().unwrap(), (DONE, format!("c{number}\0").into_bytes()));
    }
}

fn descriptors_that_come_with_a_request_are_closed(shared: &Shared) {
    let (_site, mut agent) = agent(shared);
    let mut client = agent.connect();
    assert_eq!(client.call(8, &named("none", &[])).0, NO_CACHE);
    let proc = format!("/proc/{}/fd", agent.daemon().pid());
    let open = || std::fs::read_dir(&proc).unwrap().count();
    let before = open();
    let file = File::open("/dev/null").unwrap();
    let numbers = [file.as_raw_fd(); 20];
    let bytes = request(20, &[]);
    let rights = [ControlMessage::ScmRights(&numbers)];
    let parts = [IoSlice::new(&bytes)];
    sendmsg::<()>(client.socket().as_raw_fd(), &parts, &rights, MsgFlags::empty(), None).unwrap();
    assert_eq!(client.reply().unwrap(), (DONE, b"0\0".to_vec()));
    assert_eq!(open(), before);
}

fn a_request_that_stands_still_is_given_up(shared: &Shared) {
    let (_site, agent) = agent(shared);
    let mut client = agent.connect();
    client.send(&request(6, b"0\0half of a credential")[..20]).unwrap();
    let long = std::time::Duration::from_secs(90);
    client.socket().set_read_timeout(Some(long)).unwrap();
    let begun = std::time::Instant::now();
    assert!(client.is_closed() && begun.elapsed() < long);
    // The limit is 30 s from the last byte.
    assert!(begun.elapsed() >= std::time::Duration::from_secs(25), "{:?}", begun.elapsed());
    let _ = client.socket().write(&[0]);
}
