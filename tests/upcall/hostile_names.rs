//! Name servers with malicious answers (rule S8): time and memory of a look-up are bounded, whatever they send.

use crate::support::netns::NetNamespace;
use crate::support::outcome::Outcome;
use crate::support::probe::{Request, Step, as_user};
use crate::support::process::{command_as, succeed};
use crate::support::scratch::Scratch;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use nix::errno::Errno;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

crate::trials![
    hostile_answers_about_a_servers_host_are_a_fault_of_the_name_service,
    thousands_of_kdcs_in_the_name_service_are_not_all_asked,
];

const A: u16 = 1;
const CNAME: u16 = 5;
const SRV: u16 = 33;
/// Longest message over TCP (RFC 1035 §4.2.2).
const LONGEST: usize = 0xffff;

/// Kind of answer over TCP, where every UDP answer sends the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Malice {
    /// No valid header.
    Garbage,
    /// An alias of the name to itself, a hundred times.
    AliasLoop,
    /// Ends in the middle of a record.
    Truncated,
    /// The length of the longest message, and then one byte now and then.
    Drip,
    /// As many services as fit into a message.
    Services,
}

struct HostileServer {
    answered: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl HostileServer {
    fn start(net: &NetNamespace, malice: Malice) -> Self {
        let (answered, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let mut threads = Vec::new();
        for (udp, tcp) in net.name_service_sockets_of_both_kinds() {
            let (over_udp, over_tcp, count) = (Arc::clone(&stop), Arc::clone(&stop), Arc::clone(&answered));
            udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            tcp.set_nonblocking(true).unwrap();
            threads.push(std::thread::spawn(move || {
                let mut buffer = [0; 1500];
                while !over_udp.load(Ordering::Relaxed) {
                    let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
                    let mut reply = buffer[..length].to_vec();
                    // A truncated response: the client is to ask again over TCP.
                    (reply[2], reply[3]) = (0x87, 0x80);
                    let _ = udp.send_to(&reply, from);
                }
            }));
            threads.push(std::thread::spawn(move || serve(&tcp, malice, &over_tcp, &count)));
        }
        Self { answered, stop, threads }
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn serve(tcp: &TcpListener, malice: Malice, stop: &AtomicBool, answered: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        match tcp.accept() {
            Ok((mut client, _)) => {
                client.set_nonblocking(false).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                if answer(&mut client, malice, stop).is_some() {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn answer(client: &mut TcpStream, malice: Malice, stop: &AtomicBool) -> Option<()> {
    let mut length = [0; 2];
    client.read_exact(&mut length).ok()?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    client.read_exact(&mut query).ok()?;
    let message = message(&query, malice);
    let told = if malice == Malice::Drip { LONGEST } else { message.len() };
    client.write_all(&u16::try_from(told).unwrap().to_be_bytes()).ok()?;
    client.write_all(&message).ok()?;
    // The client closes when its time is over.
    while malice == Malice::Drip && !stop.load(Ordering::Relaxed) && client.write_all(&[0]).is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    Some(())
}

fn message(query: &[u8], malice: Malice) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    // The name is a pointer to that in the question.
    let record = |kind: u16, data: &[u8]| {
        let mut record = vec![0xc0, 12];
        [kind, 1, 0, 0, u16::try_from(data.len()).unwrap()]
            .iter()
            .for_each(|word| record.extend(word.to_be_bytes()));
        record.extend(data);
        record
    };
    let records: Vec<Vec<u8>> = match malice {
        Malice::Garbage => return vec![0xff; 5000],
        Malice::AliasLoop => vec![record(CNAME, &[0xc0, 12]); 100],
        Malice::Truncated | Malice::Drip => vec![record(A, &[192, 0, 2, 1]); 2000],
        Malice::Services if kind == SRV => (0..1600u32).map(|number| record(SRV, &kdc(number))).collect(),
        Malice::Services => vec![record(A, &[192, 0, 2, 1])],
    };
    let mut message = query[..2].to_vec();
    [0x8580, 1, u16::try_from(records.len()).unwrap(), 0, 0]
        .iter()
        .for_each(|word: &u16| message.extend(word.to_be_bytes()));
    message.extend(&query[12..end]);
    message.extend(records.concat());
    assert!(message.len() <= LONGEST);
    if malice == Malice::Truncated || malice == Malice::Drip {
        message.truncate(message.len() / 2 + 3);
    }
    message
}

/// Priority, weight, port, and a unique name.
fn kdc(number: u32) -> Vec<u8> {
    let label = format!("kdc{number:05}");
    let port = 20_000 + u16::try_from(number).unwrap();
    let mut data: Vec<u8> = [1, 1, port].iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
    for label in [label.as_str(), "test"] {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.bytes());
    }
    data.push(0);
    data
}

fn site(shared: &Shared) -> Site {
    let settings = Settings { kdc: "3s", connect: "3s", round: "3s", ..Settings::default() };
    let site = Site::with(shared.realm(), &settings);
    site.ticket(shared.realm());
    site
}

/// The request fails in time, and without a crash (EIO).
#[track_caller]
fn fails_in_time(net: &NetNamespace, site: &Site, request: Request) -> Outcome {
    let begun = Instant::now();
    let mut steps = vec![Step::EnterNet { path: net.path() }];
    steps.extend(as_user(site.uid()));
    let outcome = site.ask_after(steps, request);
    assert!(begun.elapsed() < stretched(Duration::from_secs(15)), "{:?}", begun.elapsed());
    assert_ne!(outcome.errno(), Errno::EIO, "{:#?}", site.log.lines());
    site.wait_until_idle();
    outcome
}

fn hostile_answers_about_a_servers_host_are_a_fault_of_the_name_service(shared: &Shared) {
    let (realm, target) = (shared.realm(), shared.nfs());
    for malice in [Malice::Garbage, Malice::AliasLoop, Malice::Truncated, Malice::Drip] {
        let site = site(shared);
        // With a service ticket in the cache, the server's address is the first look-up.
        let mut kvno = command_as(site.uid(), "kvno");
        kvno.envs(realm.environment()).args(["-c", &format!("FILE:{}", site.default_cache().display())]);
        succeed(kvno.arg(target.service.replace('@', "/")), "");
        let directory = Scratch::new();
        let net = NetNamespace::new(&directory.path(""));
        let server = HostileServer::start(&net, malice);
        let callout = format!("lgss1;svc={};chan=rpc:srv.example:2049,100003,4", target.service);
        let request = Request { callout: Some(callout.into_bytes()), ..site.request(target) };
        fails_in_time(&net, &site, request);
        site.log.wait_for_words(&[": resolve: ", "srv.example"]);
        assert!(
            server.answered.load(Ordering::Relaxed) + u32::from(malice == Malice::Drip) > 0,
            "{malice:?}"
        );
    }
}

fn thousands_of_kdcs_in_the_name_service_are_not_all_asked(shared: &Shared) {
    let site = site(shared);
    let krb5 = fs::read_to_string(site.path("krb5.conf")).unwrap();
    let without: Vec<_> = krb5.lines().filter(|line| !line.contains("kdc = ")).collect();
    fs::write(site.path("krb5.conf"), without.join("\n") + "\n").unwrap();
    site.libdefaults("dns_lookup_kdc = true");
    let directory = Scratch::new();
    let net = NetNamespace::new(&directory.path(""));
    let server = HostileServer::start(&net, Malice::Services);
    fails_in_time(&net, &site, site.request(shared.nfs()));
    site.log.wait_for_words(&[": kdc: "]);
    assert!(server.answered.load(Ordering::Relaxed) > 0, "nobody has asked");
}
