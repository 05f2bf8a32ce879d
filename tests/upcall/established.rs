//! With a ticket and a server, the requester gets a context that the server accepts, and nobody else gets it.

use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user, probe};
use crate::support::process::{command_as, succeed};
use crate::support::rpc::{call_null_with, fragments, read_record, write_record};
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use lgss::ctx::Context;
use nix::errno::Errno;
use std::io::{ErrorKind, Write};
use std::net::{Ipv6Addr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

crate::trials![
    a_context_made_by_the_kernels_upcall_is_accepted_by_the_server,
    the_requester_has_a_key_in_progress_while_the_server_thinks,
    the_service_ticket_is_stored_in_the_users_cache,
    the_key_expires_before_the_context_does,
    a_lifetime_asked_for_is_an_upper_bound,
    a_second_request_of_the_session_finds_the_same_key_without_an_upcall,
    an_instance_is_another_context,
    a_caller_that_does_not_know_its_uid_is_served,
    another_session_of_the_same_user_cannot_read_the_context,
    no_key_bytes_are_in_the_log,
    a_reply_in_many_fragments_is_put_together,
    a_server_is_reached_by_ipv6,
    it_works_without_a_log,
    a_log_that_nobody_reads_holds_nothing_up,
];

fn a_context_made_by_the_kernels_upcall_is_accepted_by_the_server(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let context = site.ask(shared.nfs()).context();
    // The values that NFS-Ganesha grants.
    assert_eq!((context.window.count(), context.handle.as_bytes().len()), (32, 16));
    call_null_with(&context, shared.nfs());
    let line =
        site.log.wait_for_words(&["established", &format!("uid {} ", site.uid()), &shared.nfs().service]);
    assert!(line.contains(" ms"), "the line tells how long it took: {line}");
    site.wait_until_idle();
    assert_eq!(site.log.lines().len(), 1, "one line an upcall: {:#?}", site.log.lines());
}

fn the_requester_has_a_key_in_progress_while_the_server_thinks(shared: &Shared) {
    let site = Site::with(shared.realm(), &Settings { round: "20s", ..Settings::default() });
    site.ticket(shared.realm());
    // The server answers when the test has seen the key in progress.
    let gate = Arc::new(Mutex::new(()));
    let (closed, passed) = (gate.lock().unwrap(), Arc::clone(&gate));
    let server = Server::between(shared.nfs().address(), move |_| drop(passed.lock()));
    let mut steps = as_user(site.uid());
    let before = steps.len();
    steps.push(Step::Request(site.request(&shared.nfs().at(server.port()))));
    steps.extend([Step::Settle { within_ms: 0 }, Step::Pause, Step::Settle { within_ms: 30_000 }]);
    let mut requester = Probe::start(&steps);
    let mut findings = requester.until_pause().split_off(before);
    assert!(matches!(findings.pop(), Some(Finding::Unsettled)), "the key was never in progress");
    drop(closed);
    requester.go_on();
    findings.extend(requester.rest().pop());
    call_null_with(&Outcome::of(&findings).context(), shared.nfs());
}

fn the_service_ticket_is_stored_in_the_users_cache(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    drop(site.ask(shared.nfs()).context());
    let mut klist = command_as(site.uid(), "klist");
    klist.arg("-c").arg(site.default_cache()).envs(shared.realm().environment());
    let listed = succeed(&mut klist, "");
    assert!(listed.contains(&format!("nfs/{}", shared.realm().host())), "{listed}");
}

fn the_key_expires_before_the_context_does(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("FILE:{}", site.default_cache().display());
    shared.realm().ticket_with(site.uid(), &cache, &["-l", "50s"]);
    let (context, left) = ask_and_see_expiry(&site, site.request(shared.nfs()));
    // 50 s less a tenth, and less the time of the test.
    assert!((20..=45).contains(&left), "the key expires in {left} s");
    drop(context);
}

fn a_lifetime_asked_for_is_an_upper_bound(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let (_, left) = ask_and_see_expiry(&site, site.request_with(shared.nfs(), "ttl=17"));
    assert!((1..=17).contains(&left), "the key expires in {left} s");
}

fn ask_and_see_expiry(site: &Site, request: crate::support::probe::Request) -> (Context, u64) {
    let mut steps = as_user(site.uid());
    steps.extend([Step::Request(request), Step::Settle { within_ms: 10_000 }, Step::Expiry]);
    let findings = probe(&steps);
    let context = Outcome::of(&findings[2..4]).context();
    match findings.last() {
        Some(Finding::ExpiresIn { seconds: Some(left) }) => (context, *left),
        other => panic!("the key never expires: {other:?}"),
    }
}

fn a_second_request_of_the_session_finds_the_same_key_without_an_upcall(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut steps = as_user(site.uid());
    steps.extend([Step::Request(site.request(shared.nfs())), Step::Settle { within_ms: 10_000 }]);
    steps.extend([Step::Request(site.request(shared.nfs())), Step::Settle { within_ms: 10_000 }]);
    let findings = probe(&steps);
    let serials: Vec<_> = findings.iter().filter_map(requested).collect();
    assert!(serials.len() == 2 && serials[0] == serials[1], "{serials:?}");
    site.wait_until_idle();
    assert_eq!(site.log.wait_for_count(1).len(), 1);
}

fn an_instance_is_another_context(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let owner = site.uid().to_string();
    let mut steps = as_user(site.uid());
    for instance in ["", ":other"] {
        steps.push(Step::Request(site.request_as(&owner, shared.nfs(), instance)));
        steps.push(Step::Settle { within_ms: 10_000 });
    }
    let findings = probe(&steps);
    let [first, second] = [&findings[2..4], &findings[4..6]].map(|pair| Outcome::of(pair).context());
    assert_ne!(first.handle.as_bytes(), second.handle.as_bytes());
}

fn a_caller_that_does_not_know_its_uid_is_served(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let request = site.request_as("self", shared.nfs(), &format!(":{}", site.uid()));
    call_null_with(&site.ask_with(request).context(), shared.nfs());
}

fn another_session_of_the_same_user_cannot_read_the_context(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut steps = as_user(site.uid());
    steps.extend([
        Step::Request(site.request(shared.nfs())),
        Step::Settle { within_ms: 10_000 },
        Step::Pause,
    ]);
    let mut requester = Probe::start(&steps);
    let findings = requester.until_pause();
    let serial = findings.iter().find_map(requested).unwrap();
    drop(Outcome::of(&findings[2..]).context());
    for uid in [site.uid(), 0] {
        let mut steps = as_user(uid);
        steps.push(Step::ReadKey { serial });
        let findings = probe(&steps);
        let Some(Finding::Settled { payload: None, errno, .. }) = findings.last() else {
            panic!("{findings:?}")
        };
        assert_eq!(Errno::from_raw(*errno), Errno::EACCES, "uid {uid}");
    }
}

fn requested(finding: &Finding) -> Option<i32> {
    match finding {
        Finding::Requested { serial, .. } => *serial,
        _ => None,
    }
}

fn no_key_bytes_are_in_the_log(shared: &Shared) {
    let site = Site::new(shared.realm());
    let config = std::fs::read_to_string(site.path("lgss.toml")).unwrap();
    std::fs::write(site.path("lgss.toml"), config.replace("level = \"info\"", "level = \"debug\"")).unwrap();
    site.ticket(shared.realm());
    let context = site.ask(shared.nfs()).context();
    site.log.wait_for_words(&["established"]);
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let log = site.log.lines().concat().to_lowercase();
    for secret in [context.base_key.secret().expose(), context.handle.as_bytes()] {
        // Every eight consecutive bytes.
        for part in secret.windows(8) {
            assert!(!log.contains(&hexadecimal(part)), "secret bytes in the log: {log}");
        }
    }
}

fn a_reply_in_many_fragments_is_put_together(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let address = shared.nfs().address();
    let splitter = Server::start(move |mut client| {
        let mut server = TcpStream::connect(address).unwrap();
        while let Ok(call) = read_record(&mut client) {
            write_record(&mut server, &call).unwrap();
            let reply = read_record(&mut server).unwrap();
            client.write_all(&fragments(&reply, 9)).unwrap();
        }
    });
    call_null_with(&site.ask(&shared.nfs().at(splitter.port())).context(), shared.nfs());
}

fn a_server_is_reached_by_ipv6(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let relay = Server::between_on(Ipv6Addr::LOCALHOST.into(), shared.nfs().address(), |_| {});
    let target = shared.nfs().behind(&relay);
    assert!(target.channel().starts_with("rpc:[::1]:"), "{}", target.channel());
    call_null_with(&site.ask(&target).context(), &target);
    assert!(relay.connections() > 0, "nobody came by IPv6");
}

fn it_works_without_a_log(shared: &Shared) {
    let site = Site::new(shared.realm());
    std::fs::remove_file(site.path("log")).unwrap();
    site.ticket(shared.realm());
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    site.wait_until_idle();
}

fn a_log_that_nobody_reads_holds_nothing_up(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    std::fs::remove_file(site.path("log")).unwrap();
    let unread = UnixDatagram::bind(site.path("log")).unwrap();
    fill(&site.path("log"));
    let start = Instant::now();
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    site.wait_until_idle();
    assert!(start.elapsed() < stretched(Duration::from_secs(5)), "took {:?}", start.elapsed());
    // The socket was full all the time: it holds only the test's own filling.
    unread.set_nonblocking(true).unwrap();
    let mut buffer = [0; 1024];
    while let Ok(length) = unread.recv(&mut buffer) {
        assert_eq!(&buffer[..length], b"x");
    }
}

/// Fills it until even a new sender, which has sent nothing yet, would have to wait.
fn fill(log: &Path) {
    loop {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        sender.connect(log).unwrap();
        let mut sent = 0;
        let error = loop {
            match sender.send(b"x") {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        if sent == 0 {
            return;
        }
    }
}
