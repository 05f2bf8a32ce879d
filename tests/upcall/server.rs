//! Servers that are down, silent, broken or malicious.

use crate::support::ports::free_port;
use crate::support::rpc::{InitReply, denied, fragments, read_record, write_record};
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

crate::trials![
    a_server_that_is_down_is_told_at_once,
    a_silent_server_is_given_up_in_its_time,
    a_server_that_drips_bytes_is_given_up_in_its_time,
    an_unknown_host_is_told,
    garbage_is_a_protocol_error,
    a_connection_closed_early_is_a_protocol_error,
    a_connection_closed_anywhere_in_the_reply_is_a_protocol_error,
    an_oversized_record_is_a_protocol_error,
    fragments_without_end_are_a_protocol_error,
    a_wrong_verifier_is_a_protocol_error,
    no_verifier_is_a_protocol_error,
    a_window_of_0_is_a_protocol_error,
    a_changed_window_is_a_protocol_error,
    an_empty_handle_is_a_protocol_error,
    an_oversized_handle_is_a_protocol_error,
    a_reply_to_another_call_is_a_protocol_error,
    a_changed_token_is_a_protocol_error,
    no_token_is_a_protocol_error,
    continue_for_ever_is_a_protocol_error,
    a_server_that_denies_the_credentials_is_refused_with_eacces,
    a_server_with_another_key_is_refused_with_eacces,
];

/// A site whose user has a ticket.
fn ready(shared: &Shared) -> Site {
    let site = Site::with(shared.realm(), &Settings { connect: "2s", round: "2s", ..Default::default() });
    site.ticket(shared.realm());
    site
}

fn expect_from(shared: &Shared, server: &Server, cause: Cause) {
    let site = ready(shared);
    let target = shared.nfs().at(server.port());
    let start = Instant::now();
    let outcome = site.ask(&target);
    assert!(start.elapsed() < stretched(Duration::from_secs(8)), "took {:?}", start.elapsed());
    assert!(server.connections() > 0, "the server was never asked: {outcome:?}, log {:#?}", site.log.lines());
    site.assert_failed(&outcome, cause, &target);
}

/// The real server's reply, changed on its way.
fn expect_protocol_error_if(shared: &Shared, change: impl Fn(&mut InitReply) + Send + Sync + 'static) {
    let server = Server::between(shared.nfs().address(), move |reply| {
        let mut parsed = InitReply::parse(reply);
        change(&mut parsed);
        *reply = parsed.encode();
    });
    expect_from(shared, &server, Cause::BadReply);
}

fn a_server_that_is_down_is_told_at_once(shared: &Shared) {
    let patient = Settings { connect: "60s", round: "60s", deadline: "90s", ..Default::default() };
    let site = Site::with(shared.realm(), &patient);
    site.ticket(shared.realm());
    let target = shared.nfs().at(free_port());
    let start = Instant::now();
    let outcome = site.ask(&target);
    assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
    site.assert_failed(&outcome, Cause::ServerDown, &target);
    let refused = format!("connect: 127.0.0.1:{} refused the connection", target.port);
    site.log.wait_for_words(&[&refused]);
}

fn a_silent_server_is_given_up_in_its_time(shared: &Shared) {
    expect_from(shared, &Server::silent(), Cause::ServerSilent);
}

fn a_server_that_drips_bytes_is_given_up_in_its_time(shared: &Shared) {
    let server = Server::start(|mut stream| {
        // A record of 60000 bytes, one every 100 ms: each read succeeds, and the round never ends.
        let _ = stream.write_all(&[0x80, 0, 0xea, 0x60]);
        while stream.write_all(&[0]).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    expect_from(shared, &server, Cause::ServerSilent);
}

fn an_unknown_host_is_told(shared: &Shared) {
    let site = ready(shared);
    let mut request = site.request(shared.nfs());
    let channel = format!("chan=rpc:{}:2049,100003,4", "no-such-host.invalid");
    let callout = format!("lgss1;svc={};{channel}", shared.nfs().service);
    request.callout = Some(callout.into_bytes());
    let outcome = site.ask_with(request);
    site.assert_failed(&outcome, Cause::UnknownHost, shared.nfs());
    site.log.wait_for_words(&["resolve: name no-such-host.invalid not found"]);
}

fn garbage_is_a_protocol_error(shared: &Shared) {
    expect_from(shared, &Server::saying(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n".to_vec()), Cause::BadReply);
    let record = |body: &[u8]| [&[0x80, 0, 0, u8::try_from(body.len()).unwrap()][..], body].concat();
    expect_from(shared, &Server::saying(record(b"not an RPC reply at all")), Cause::BadReply);
    expect_from(shared, &Server::saying(record(b"")), Cause::BadReply);
}

fn a_connection_closed_early_is_a_protocol_error(shared: &Shared) {
    expect_from(shared, &Server::start(drop::<TcpStream>), Cause::BadReply);
    expect_from(shared, &Server::answering(|_| None), Cause::BadReply);
    let half = Server::start(|mut stream| {
        let _ = stream.write_all(&[0x80, 0, 1, 0, 1, 2, 3]);
    });
    expect_from(shared, &half, Cause::BadReply);
}

/// Each time a little more of the true reply arrives: the record's mark, the reply's head, verifier, handle, token.
fn a_connection_closed_anywhere_in_the_reply_is_a_protocol_error(shared: &Shared) {
    let (address, reply) = (shared.nfs().address(), Arc::new(OnceLock::new()));
    let keep = Arc::clone(&reply);
    let seen = Server::between(address, move |record| drop(keep.set(fragments(record, record.len()))));
    drop(ready(shared).ask(&shared.nfs().behind(&seen)).context());
    let whole = reply.get().expect("a reply was seen");
    let token = InitReply::parse(&whole[4..]).token.len();
    let in_the_token = whole.len() - token / 2;
    for length in [2, 4, 12, 30, 60, whole.len() - token - 2, in_the_token, whole.len() - 1] {
        let server = Server::start(move |mut client| {
            let Ok(mut server) = TcpStream::connect(address) else { return };
            let Ok(call) = read_record(&mut client) else { return };
            write_record(&mut server, &call).unwrap();
            let reply = read_record(&mut server).unwrap();
            let _ = client.write_all(&fragments(&reply, reply.len())[..length]);
        });
        expect_from(shared, &server, Cause::BadReply);
    }
}

fn an_oversized_record_is_a_protocol_error(shared: &Shared) {
    expect_from(shared, &Server::saying(vec![0xff, 0xff, 0xff, 0xff, 1, 2, 3]), Cause::BadReply);
    // All of it arrives.
    let large = vec![7; 100_000];
    expect_from(shared, &Server::saying(fragments(&large, large.len())), Cause::BadReply);
    expect_from(shared, &Server::saying(fragments(&large, 9000)), Cause::BadReply);
}

fn fragments_without_end_are_a_protocol_error(shared: &Shared) {
    let endless =
        |fragment: Vec<u8>| Server::start(move |mut stream| while stream.write_all(&fragment).is_ok() {});
    expect_from(shared, &endless([&[0, 0, 0x10, 0][..], &[7; 4096]].concat()), Cause::BadReply);
    // Empty fragments would never reach a limit of bytes.
    expect_from(shared, &endless(vec![0; 4096]), Cause::BadReply);
}

fn a_wrong_verifier_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| *reply.verifier.last_mut().unwrap() ^= 1);
}

fn no_verifier_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| {
        reply.verifier_flavor = 0;
        reply.verifier.clear();
    });
}

fn a_window_of_0_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| reply.window = 0);
}

fn a_changed_window_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| reply.window *= 1000);
}

fn an_empty_handle_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| reply.handle.clear());
}

fn an_oversized_handle_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| reply.handle.resize(60_000, 7));
}

fn a_reply_to_another_call_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| reply.xid ^= 1);
}

fn a_changed_token_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| *reply.token.last_mut().unwrap() ^= 1);
}

fn no_token_is_a_protocol_error(shared: &Shared) {
    expect_protocol_error_if(shared, |reply| reply.token.clear());
}

fn continue_for_ever_is_a_protocol_error(shared: &Shared) {
    for token in [&[][..], &[0x60; 100], &[0; 70_000]] {
        let token = token.to_vec();
        let server = Server::answering(move |call| Some(InitReply::continuing(call, &token).encode()));
        expect_from(shared, &server, Cause::BadReply);
    }
    // With the true token the client's side is complete, but the server asks for more.
    expect_protocol_error_if(shared, |reply| reply.gss_major = 1);
}

fn a_server_that_denies_the_credentials_is_refused_with_eacces(shared: &Shared) {
    const RPCSEC_GSS_CREDPROBLEM: u32 = 13;
    let server = Server::answering(|call| Some(denied(call, RPCSEC_GSS_CREDPROBLEM)));
    expect_from(shared, &server, Cause::ServerRefused);
    // GSS_S_FAILURE in an accepted reply.
    let failing = Server::answering(|call| {
        Some(
            InitReply { gss_major: 13 << 16, handle: Vec::new(), ..InitReply::continuing(call, b"") }
                .encode(),
        )
    });
    expect_from(shared, &failing, Cause::ServerRefused);
}

fn a_server_with_another_key_is_refused_with_eacces(_: &Shared) {
    use crate::support::{ganesha::Ganesha, process::Until, realm::Realm};
    let realm = Realm::start();
    let ganesha = Ganesha::start(&realm, Until::TestEnds);
    let target: &Target = ganesha.target();
    // The KDC has a new key, the server's keytab the old one.
    realm.administrate(&[format!("cpw -randkey nfs/{}", realm.host())]);
    let site = Site::new(&realm);
    site.ticket(&realm);
    assert_eq!(site.ask(target).errno(), Errno::EACCES, "log: {:#?}", site.log.lines());
}
