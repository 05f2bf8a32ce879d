//! Pins this contract's messages: the JSON of each, and the parts beside it, as one end sends and the other reads them.
//!
//! A change of an expected text here needs a new `CONTRACT` (src/creds/source_list.rs). Without that, a worker of another
//! version misunderstands the monitor instead of refusing it.

#![cfg(feature = "gss")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::class::Private;
use crate::config::{Canonicalize, Enctypes, WorkerSandbox};
use crate::creds::source_list::CONTRACT;
use crate::ctx::lustre::{Roles, ServerKind};
use crate::ctx::request::{Level, Mechanism, RpcChannel};
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::answer::{Answer, WindowProof};
use crate::negotiate::nid_host::HostLookup;
use crate::secret::Secret;
use crate::sys::duplex::Duplex;

mod names;

/// The number of the contract that the texts below are of.
const PINNED: u32 = 4;

/// A frame as it is in the pipe: its kind, its JSON, and its two binary parts.
type Parts = (u8, String, Vec<u8>, Vec<u8>);

fn sent(send: impl FnOnce(Duplex)) -> Parts {
    let (ours, mut theirs) = Duplex::pair().unwrap();
    send(ours);
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match theirs.read(&mut piece, soon()).unwrap() {
            0 => break,
            length => bytes.extend(&piece[..length]),
        }
    }
    let mut at = 4;
    assert_eq!(bytes[..at], u32::try_from(bytes.len() - at).unwrap().to_ne_bytes());
    let kind = bytes[at];
    at += 1;
    let mut part = || {
        let length = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let begin = at + 4;
        at = begin + usize::try_from(length).unwrap();
        bytes[begin..at].to_vec()
    };
    let (json, key, handle) = (part(), part(), part());
    assert_eq!(at, bytes.len());
    (kind, String::from_utf8(json).unwrap(), key, handle)
}

fn by_monitor(send: impl FnOnce(&mut MonitorEnd)) -> Parts {
    sent(|pipes| send(&mut MonitorEnd::over(pipes)))
}

fn by_worker(send: impl FnOnce(&mut WorkerEnd)) -> Parts {
    sent(|pipes| send(&mut WorkerEnd::over(pipes)))
}

/// Another end's pipes with this one frame in them, as [`sent`] takes it apart.
fn holding((kind, json, key, handle): &Parts) -> Duplex {
    let mut rest = vec![*kind];
    for part in [json.as_bytes(), key, handle] {
        rest.extend(u32::try_from(part.len()).unwrap().to_ne_bytes());
        rest.extend(part);
    }
    let (mut ours, theirs) = Duplex::pair().unwrap();
    let frame = [&u32::try_from(rest.len()).unwrap().to_ne_bytes()[..], &rest].concat();
    assert_eq!(ours.write(&frame, soon()).unwrap(), frame.len());
    theirs
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The request that a worker reads in this frame.
fn request_in(parts: &Parts) -> Request {
    WorkerEnd::over(holding(parts)).receive_request(soon()).unwrap()
}

/// The server's answer that a worker reads in this frame.
fn reply_in(parts: &Parts) -> Option<Answer> {
    WorkerEnd::over(holding(parts)).receive_reply(soon()).unwrap()
}

/// The message that a monitor reads in this frame.
fn message_in(parts: &Parts) -> Message {
    MonitorEnd::over(holding(parts)).receive_message(soon()).unwrap()
}

fn json_only(kind: u8, json: &str) -> Parts {
    (kind, json.to_owned(), Vec::new(), Vec::new())
}

fn lookup(configured: Option<&str>) -> HostLookup {
    HostLookup {
        nid: "10.0.0.7@o2ib".parse().unwrap(),
        configured: configured.map(str::to_owned),
        proposed: None,
        program: PathBuf::from("/etc/lgss/nid2hostname"),
        trust_unconfirmed_names: false,
    }
}

fn request(target: Target, credentials: Credentials) -> Request {
    Request {
        mechanism: Mechanism::Krb5,
        target,
        credentials,
        principal: Some("alice@A".to_owned()),
        level: Level::Integrity,
        enctypes: Enctypes::default(),
        renew: true,
        limits: StageLimits {
            kdc: Duration::from_secs(10),
            connect: Duration::from_millis(2500),
            round: Duration::from_secs(5),
            total: Duration::from_secs(30),
        },
        names: HostNames::AsTheHost,
        sandbox: WorkerSandbox::Strict,
        trail: Trail::Told,
        paused: Some(Paused { tried: Private::new(vec![7]), detail: "three failures".to_owned() }),
    }
}

fn considered() -> Considered {
    Considered {
        chosen: Some("alice@A in FILE:/a, 5 h left".to_owned()),
        wanted: None,
        others: vec!["FILE:/b: no ticket".to_owned()],
        more: 2,
    }
}

const CONSIDERED: &str =
    r#"{"chosen":"alice@A in FILE:/a, 5 h left","wanted":null,"others":["FILE:/b: no ticket"],"more":2}"#;

#[test]
fn the_contract_has_the_number_that_its_texts_are_of() {
    assert_eq!(CONTRACT, PINNED, "a new contract has new texts: compare them, then raise PINNED");
}

#[test]
fn a_request_for_a_program_looks_like_this() {
    let channel = RpcChannel { host: "srv.a".to_owned(), port: 2049, program: 100_003, version: 4 };
    let service = "nfs@srv.a".parse().unwrap();
    let target = Target::Rpc { service, channel, canonicalize: Canonicalize::Fallback };
    let request = request(target, Credentials::Users);
    let expected = concat!(
        r#"{"mechanism":"krb5","target":{"rpc":{"service":"nfs@srv.a","channel":"#,
        r#"{"host":"srv.a","port":2049,"program":100003,"version":4},"canonicalize":"fallback"}},"#,
        r#""credentials":"users","principal":"alice@A","level":"integrity","#,
        r#""enctypes":["aes256-cts-hmac-sha1-96","aes128-cts-hmac-sha1-96","aes256-cts-hmac-sha384-192","#,
        r#""aes128-cts-hmac-sha256-128"],"#,
        r#""renew":true,"limits":{"kdc":{"secs":10,"nanos":0},"connect":{"secs":2,"nanos":500000000},"#,
        r#""round":{"secs":5,"nanos":0},"total":{"secs":30,"nanos":0}},"names":"as_the_host","#,
        r#""sandbox":"strict","trail":"told","#,
        r#""paused":{"tried":[7],"detail":"three failures"}}"#,
    );
    let expected = json_only(1, expected);
    assert_eq!(by_monitor(|end| end.send_request(&request).unwrap()), expected);
    assert_eq!(request_in(&expected), request);
}

#[test]
fn a_request_for_lustre_looks_like_this() {
    let target =
        Target::Lustre { server: ServerKind::Mds, peer: lookup(None), name: "lustre-MDT0000-mdc".to_owned() };
    let credentials = Credentials::Machines {
        roles: Roles { root: true, mdt: false, ost: false },
        realm: Some("A".to_owned()),
        principal: None,
        myself: Some(lookup(Some("n1.a"))),
    };
    let request = Request {
        principal: None,
        level: Level::Privacy,
        names: HostNames::FilesAndDns,
        sandbox: WorkerSandbox::Plugins,
        trail: Trail::Untold,
        paused: None,
        ..request(target, credentials)
    };
    let expected = concat!(
        r#"{"mechanism":"krb5","target":{"lustre":{"server":"mds","peer":{"nid":"10.0.0.7@o2ib","configured":null,"#,
        r#""program":"/etc/lgss/nid2hostname","trust_unconfirmed_names":false},"name":"lustre-MDT0000-mdc"}},"#,
        r#""credentials":{"machines":{"roles":{"root":true,"mdt":false,"ost":false},"realm":"A","principal":null,"#,
        r#""myself":{"nid":"10.0.0.7@o2ib","configured":"n1.a","program":"/etc/lgss/nid2hostname","#,
        r#""trust_unconfirmed_names":false}}},"principal":null,"level":"privacy","#,
        r#""enctypes":["aes256-cts-hmac-sha1-96","aes128-cts-hmac-sha1-96","aes256-cts-hmac-sha384-192","#,
        r#""aes128-cts-hmac-sha256-128"],"#,
        r#""renew":true,"limits":{"kdc":{"secs":10,"nanos":0},"connect":{"secs":2,"nanos":500000000},"#,
        r#""round":{"secs":5,"nanos":0},"total":{"secs":30,"nanos":0}},"names":"files_and_dns","#,
        r#""sandbox":"plugins","trail":"untold","#,
        r#""paused":null}"#,
    );
    let expected = json_only(1, expected);
    assert_eq!(by_monitor(|end| end.send_request(&request).unwrap()), expected);
    assert_eq!(request_in(&expected), request);
}

/// A server's answer, as the monitor passes it on.
pub(super) fn answer() -> Answer {
    Answer {
        handle: Private::new(b"handle".to_vec()),
        gss_major: 1,
        gss_minor: 2,
        window: 2048,
        token: Secret::new(b"token".to_vec()),
        window_proof: WindowProof::TheKernels,
    }
}

#[test]
fn what_the_monitor_passes_on_looks_like_this() {
    let answer = answer();
    let json = r#"{"gss_major":1,"gss_minor":2,"window":2048}"#.to_owned();
    let expected = (5, json, b"token".to_vec(), b"handle".to_vec());
    assert_eq!(by_monitor(|end| end.send_reply(&answer, soon()).unwrap()), expected);
    let read = reply_in(&expected).unwrap();
    let numbers = |answer: &Answer| (answer.gss_major, answer.gss_minor, answer.window);
    assert_eq!((numbers(&read), &read.handle), (numbers(&answer), &answer.handle));
    assert_eq!((read.token.expose(), read.window_proof), (answer.token.expose(), answer.window_proof));
    let again = json_only(7, "null");
    assert_eq!(by_monitor(|end| end.send_again(soon()).unwrap()), again);
    assert!(reply_in(&again).is_none());
}

#[test]
fn a_workers_token_and_its_machine_credentials_look_like_this() {
    let stages = [Timing { stage: Stage::Kdc, micros: 7 }, Timing { stage: Stage::Negotiate, micros: 0 }];
    let token = Secret::new(b"token".to_vec());
    let json = r#"[{"stage":"kdc","micros":7},{"stage":"negotiate","micros":0}]"#.to_owned();
    let expected = (4, json, b"token".to_vec(), Vec::new());
    assert_eq!(by_worker(|end| end.send_token(&token, &stages).unwrap()), expected);
    let Message::Token(read, timings) = message_in(&expected) else { panic!("no token") };
    assert_eq!((read.expose(), timings.as_slice()), (token.expose(), stages.as_slice()));
    let ready = Ready { good_until: 1000, service_until: Some(900) };
    let json = r#"{"good_until":1000,"service_until":900}"#;
    let cache = Secret::new(b"cache".to_vec());
    let with_cache = (6, json.to_owned(), b"cache".to_vec(), Vec::new());
    assert_eq!(by_worker(|end| end.send_ready(ready, Some(&cache)).unwrap()), with_cache);
    let without = json_only(6, json);
    assert_eq!(by_worker(|end| end.send_ready(ready, None).unwrap()), without);
    for (parts, cache) in [(with_cache, cache.expose()), (without, &[])] {
        let Message::Ready(read, stored) = message_in(&parts) else { panic!("no credentials") };
        assert_eq!((read, stored.expose()), (ready, cache));
    }
}

#[test]
fn an_established_context_looks_like_this() {
    let context = Established {
        enctype: 18,
        acceptor_subkey: true,
        endtime: 1000,
        send_sequence: Private::new(5),
        lifetime: 600,
        window: 128,
        credential: "alice@A in FILE:/a".to_owned(),
        server: "nfs/srv.a@A".to_owned(),
        principal: "alice@A".to_owned(),
        unmet: Some("wanted bob@A".to_owned()),
        considered: considered(),
        stages: vec![Timing { stage: Stage::Connect, micros: 9 }],
        trail: vec!["reads FILE:/a".to_owned()],
    };
    let json = [
        r#"{"enctype":18,"acceptor_subkey":true,"endtime":1000,"send_sequence":5,"lifetime":600,"window":128,"#,
        r#""credential":"alice@A in FILE:/a","server":"nfs/srv.a@A","principal":"alice@A","unmet":"wanted bob@A","#,
        r#""considered":"#,
        CONSIDERED,
        r#","stages":[{"stage":"connect","micros":9}],"trail":["reads FILE:/a"]}"#,
    ];
    let key = Secret::new(vec![1; 32]);
    let expected = (2, json.concat(), vec![1; 32], b"handle".to_vec());
    assert_eq!(by_worker(|end| end.send_established(&context, &key, b"handle").unwrap()), expected);
    let Message::Report(Report::Established { context: read, base_key, handle }) = message_in(&expected)
    else {
        panic!("no context")
    };
    assert_eq!(
        (*read, base_key.expose(), handle.expose().as_slice()),
        (context, key.expose(), &b"handle"[..])
    );
}

#[test]
fn a_context_by_a_shared_key_looks_like_this() {
    let context = SharedKeyEstablished {
        candidate: 1,
        host_random: Private::new([1, 2, 3, 4]),
        peer_random: Private::new([0, 255, 0, 9]),
        remark: Some("lustre:fs: refused".to_owned()),
        stages: vec![Timing { stage: Stage::Negotiate, micros: 9 }],
        trail: Vec::new(),
    };
    let json = concat!(
        r#"{"candidate":1,"host_random":[1,2,3,4],"peer_random":[0,255,0,9],"remark":"lustre:fs: refused","#,
        r#""stages":[{"stage":"negotiate","micros":9}],"trail":[]}"#,
    );
    let keys = Secret::new(vec![1; 64]);
    let expected = (8, json.to_owned(), vec![1; 64], Vec::new());
    assert_eq!(by_worker(|end| end.send_shared(&context, &keys).unwrap()), expected);
    let Message::Report(Report::Shared { context: read, keys: received }) = message_in(&expected) else {
        panic!("no context")
    };
    assert_eq!((read, received.expose()), (context, keys.expose()));
    let prime = TestedPrime { candidate: 1 };
    let expected = json_only(9, r#"{"candidate":1}"#);
    assert_eq!(by_worker(|end| end.send_tested_prime(prime).unwrap()), expected);
    let Message::TestedPrime(read) = message_in(&expected) else { panic!("no prime") };
    assert_eq!(read, prime);
}

#[test]
fn a_request_with_a_shared_key_looks_like_this() {
    let credentials = Credentials::SharedKeys {
        roles: Roles { root: false, mdt: true, ost: false },
        myself: 0x2_0000_c0a8_4d02,
    };
    let json = r#"{"shared_keys":{"roles":{"root":false,"mdt":true,"ost":false},"myself":562953185676546}}"#;
    assert_eq!(serde_json::to_string(&credentials).unwrap(), json);
    assert_eq!(serde_json::from_str::<Credentials>(json).unwrap(), credentials);
}

#[track_caller]
fn is_sent_and_read(failed: &Failed, json: &str) {
    let expected = json_only(3, json);
    assert_eq!(by_worker(|end| end.send_failed(failed).unwrap()), expected);
    let Message::Report(Report::Failed(read)) = message_in(&expected) else { panic!("no failure") };
    assert_eq!(read, *failed);
}

#[test]
fn a_failure_looks_like_this() {
    let failed = Failed {
        failure: Failure::new(Stage::Kdc, Cause::KdcDown, "no KDC").with_gss_major(0xd_0000),
        considered: considered(),
        stages: vec![Timing { stage: Stage::Kdc, micros: 9 }],
        trail: vec!["reads FILE:/a".to_owned()],
        tried: Private::new(Some(vec![u64::MAX, 0])),
    };
    let json = [
        r#"{"failure":{"stage":"kdc","cause":"kdc_down","detail":"no KDC","gss_major":851968},"considered":"#,
        CONSIDERED,
        r#","stages":[{"stage":"kdc","micros":9}],"trail":["reads FILE:/a"],"tried":[18446744073709551615,0]}"#,
    ];
    is_sent_and_read(&failed, &json.concat());
}

#[test]
fn a_failure_without_a_survey_looks_like_this() {
    let failed = Failed::without_stages(Failure::new(Stage::Launch, Cause::Setup, "no list"));
    let json = concat!(
        r#"{"failure":{"stage":"launch","cause":"setup","detail":"no list","gss_major":0},"#,
        r#""considered":{"chosen":null,"wanted":null,"others":[],"more":0},"stages":[],"trail":[],"tried":null}"#,
    );
    is_sent_and_read(&failed, json);
}

/// By this, a worker of another contract says that the programs are of different versions.
#[test]
fn a_failure_of_another_contract_is_read_as_far_as_it_is_known() {
    let json = r#"{"failure":{"stage":"launch","cause":"setup","detail":"no list","gss_major":0},"news":1}"#;
    let Message::Report(Report::Failed(read)) = message_in(&json_only(3, json)) else { panic!("no failure") };
    assert_eq!(read, Failed::without_stages(Failure::new(Stage::Launch, Cause::Setup, "no list")));
}
