//! KDCs that are down, silent, or refuse.

use crate::support::netns::NetNamespace;
use crate::support::ports::free_port;
use crate::support::probe::{Step, as_user};
use crate::support::realm::{Realm, RealmOptions};
use crate::support::scratch::Scratch;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::{assert_lasted, stretched};
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use nix::sys::socket::{Backlog, listen};
use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

crate::trials![
    an_unknown_service_is_refused_with_eacces,
    a_service_that_may_have_no_tickets_is_refused_with_eacces,
    a_kdc_that_is_down_is_told_at_once,
    a_silent_kdc_is_given_up_in_its_time,
    a_silent_kdc_is_given_up_at_the_deadline_of_the_upcall,
    with_a_service_ticket_in_the_cache_no_kdc_is_needed,
    a_first_kdc_that_drops_everything_costs_a_second,
    a_first_kdc_that_accepts_and_says_nothing_costs_a_second_by_udp,
    a_first_kdc_that_accepts_and_says_nothing_costs_ten_seconds_by_tcp,
    a_kdc_whose_name_nobody_resolves_is_given_up_in_its_time,
    a_server_whose_name_nobody_resolves_is_given_up_in_its_time,
];

fn an_unknown_service_is_refused_with_eacces(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let unknown = shared.nfs().called(&format!("nosuch@{}", shared.realm().host()));
    let outcome = site.ask(&unknown);
    site.assert_failed(&outcome, Cause::UnknownService, &unknown);
}

fn a_service_that_may_have_no_tickets_is_refused_with_eacces(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    realm.administrate(&[format!("modprinc -allow_svr nfs/{}", realm.host())]);
    let nobody = crate::support::server::Target::nfs(&realm.service(), 1);
    assert_eq!(site.ask(&nobody).errno(), Errno::EACCES);
}

fn a_kdc_that_is_down_is_told_at_once(_: &Shared) {
    let mut realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    realm.stop();
    let target = crate::support::server::Target::nfs(&realm.service(), 1);
    let start = Instant::now();
    let outcome = site.ask(&target);
    // libkrb5 tries its KDCs, over TCP and UDP, several times.
    assert!(start.elapsed() < stretched(Duration::from_secs(9)), "took {:?}", start.elapsed());
    site.assert_failed(&outcome, Cause::KdcDown, &target);
    let kdc = format!("KDC 127.0.0.1:{} refuses the connection", realm.kdc_port());
    site.log.wait_for_words(&["kdc: ", &kdc]);
}

fn a_silent_kdc_is_given_up_in_its_time(_: &Shared) {
    let realm = Realm::start();
    let site = Site::with(&realm, &Settings { kdc: "4s", ..Default::default() });
    site.ticket(&realm);
    realm.silence();
    let target = crate::support::server::Target::nfs(&realm.service(), 1);
    let start = Instant::now();
    let outcome = site.ask(&target);
    assert!(start.elapsed() < stretched(Duration::from_secs(8)), "took {:?}", start.elapsed());
    site.assert_failed(&outcome, Cause::KdcSilent, &target);
    let kdc = format!("KDC 127.0.0.1:{} does not answer", realm.kdc_port());
    site.log.wait_for_words(&["kdc: ", &kdc]);
}

fn a_silent_kdc_is_given_up_at_the_deadline_of_the_upcall(_: &Shared) {
    let realm = Realm::start();
    let site = Site::with(&realm, &Settings { kdc: "100s", deadline: "2s", ..Default::default() });
    site.ticket(&realm);
    realm.silence();
    let target = crate::support::server::Target::nfs(&realm.service(), 1);
    let start = Instant::now();
    assert_eq!(site.ask(&target).errno(), Errno::ETIMEDOUT);
    assert!(start.elapsed() < stretched(Duration::from_secs(5)), "took {:?}", start.elapsed());
    site.wait_until_idle();
}

fn with_a_service_ticket_in_the_cache_no_kdc_is_needed(_: &Shared) {
    use crate::support::{ganesha::Ganesha, process::Until, rpc::call_null_with};
    let mut realm = Realm::start();
    let ganesha = Ganesha::start(&realm, Until::TestEnds);
    let site = Site::new(&realm);
    site.ticket(&realm);
    drop(site.ask(ganesha.target()).context());
    realm.stop();
    call_null_with(&site.ask(ganesha.target()).context(), ganesha.target());
}

/// How long libkrb5 waits on an accepted connection; no setting changes that.
const BY_TCP: Duration = Duration::from_secs(10);

/// So many KDCs hang that a second for each is told from ten on any machine.
const SEVERAL: u8 = 6;

/// A KDC that hangs: its port takes datagrams, and as many connections as its queue holds.
struct Hanging {
    port: u16,
    _tcp: TcpListener,
    _udp: UdpSocket,
    _queued: Vec<TcpStream>,
}

impl Hanging {
    fn accepting(queue: i32) -> Self {
        let port = free_port();
        let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listen(&tcp, Backlog::new(queue).unwrap()).unwrap();
        let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        Self { port, _tcp: tcp, _udp: udp, _queued: Vec::new() }
    }

    /// Once the queue is full, the kernel drops further connections.
    fn dropping() -> Self {
        let mut hanging = Self::accepting(0);
        let address = ([127, 0, 0, 1], hanging.port).into();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            hanging._queued.push(stream);
        }
        hanging
    }
}

/// How long a context takes when these KDCs come before the working one.
#[track_caller]
fn time_with(shared: &Shared, hanging: &[Hanging], libdefaults: &str) -> Duration {
    let site = Site::with(shared.realm(), &Settings { kdc: "90s", deadline: "120s", ..Default::default() });
    site.ticket(shared.realm());
    let krb5 = std::fs::read_to_string(site.path("krb5.conf")).unwrap();
    let first: String = hanging.iter().map(|kdc| format!(" kdc = 127.0.0.1:{}\n ", kdc.port)).collect();
    std::fs::write(site.path("krb5.conf"), krb5.replacen(" kdc = ", &format!("{first} kdc = "), 1)).unwrap();
    site.libdefaults(libdefaults);
    let start = Instant::now();
    drop(site.ask(shared.nfs()).context());
    start.elapsed()
}

fn a_first_kdc_that_drops_everything_costs_a_second(shared: &Shared) {
    let hanging: Vec<_> = (0..SEVERAL).map(|_| Hanging::dropping()).collect();
    for libdefaults in ["", "udp_preference_limit = 1"] {
        let took = time_with(shared, &hanging, libdefaults);
        assert_lasted(took, SEVERAL.into(), BY_TCP * u32::from(SEVERAL));
    }
}

fn a_first_kdc_that_accepts_and_says_nothing_costs_a_second_by_udp(shared: &Shared) {
    let hanging: Vec<_> = (0..SEVERAL).map(|_| Hanging::accepting(16)).collect();
    assert_lasted(time_with(shared, &hanging, ""), SEVERAL.into(), BY_TCP * u32::from(SEVERAL));
}

/// Larger requests go over TCP first.
fn a_first_kdc_that_accepts_and_says_nothing_costs_ten_seconds_by_tcp(shared: &Shared) {
    let took = time_with(shared, &[Hanging::accepting(16)], "udp_preference_limit = 1");
    assert_lasted(took, BY_TCP.as_secs(), BY_TCP * u32::from(SEVERAL));
}

/// The name service of the requester's network never answers.
fn a_kdc_whose_name_nobody_resolves_is_given_up_in_its_time(shared: &Shared) {
    let site = Site::with(shared.realm(), &Settings { kdc: "2s", ..Default::default() });
    site.ticket(shared.realm());
    let net = NetNamespace::new(&site.path(""));
    let silent = net.silence_name_service();
    let krb5 = std::fs::read_to_string(site.path("krb5.conf")).unwrap();
    let here = format!(" kdc = 127.0.0.1:{}", shared.realm().kdc_port());
    assert!(krb5.contains(&here));
    std::fs::write(site.path("krb5.conf"), krb5.replace(&here, " kdc = kdc.example.test")).unwrap();
    let mut steps = vec![Step::EnterNet { path: net.path() }];
    steps.extend(as_user(site.uid()));
    let target = Target::nfs(&shared.realm().service(), 1);
    let start = Instant::now();
    let outcome = site.ask_after(steps, site.request(&target));
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    site.assert_failed(&outcome, Cause::NameServiceSilent, &target);
    site.log.wait_for_words(&["kdc: ", "name kdc.example.test: the name service does not answer"]);
    expect_asked_once(&silent);
}

fn a_server_whose_name_nobody_resolves_is_given_up_in_its_time(_: &Shared) {
    let directory = Scratch::new();
    let net = NetNamespace::new(&directory.path(""));
    let realm = Realm::start_with(RealmOptions { netns: Some(&net), ..Default::default() });
    let site = Site::with(&realm, &Settings { kdc: "2s", ..Default::default() });
    realm.ticket_in(&net, site.uid(), &format!("FILE:{}", site.default_cache().display()));
    let silent = net.silence_name_service();
    let mut request = site.request(&Target::nfs(&realm.service(), 1));
    let callout = format!("lgss1;svc={};chan=rpc:server.example.test:2049,100003,4", realm.service());
    request.callout = Some(callout.into_bytes());
    let mut steps = vec![Step::EnterNet { path: net.path() }];
    steps.extend(as_user(site.uid()));
    let start = Instant::now();
    let outcome = site.ask_after(steps, request);
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    site.assert_failed(&outcome, Cause::NameServiceSilent, &Target::nfs(&realm.service(), 1));
    site.log.wait_for_words(&["resolve: ", "name server.example.test: the name service does not answer"]);
    expect_asked_once(&silent);
}

/// The C library asks a silent name service again after five seconds, and gives it up after ten (resolv.conf(5)).
#[track_caller]
fn expect_asked_once(name_service: &[UdpSocket]) {
    let (mut questions, mut count) = (BTreeSet::new(), 0);
    for server in name_service {
        server.set_nonblocking(true).unwrap();
        let mut question = [0; 512];
        while let Ok(length) = server.recv(&mut question) {
            questions.insert(question[..length].to_vec());
            count += 1;
        }
    }
    assert!(count > 0, "the name service was never asked");
    assert_eq!(questions.len(), count, "a question was asked again");
}
