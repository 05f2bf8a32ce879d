//! What an upcall costs its requester, and how soon the context is established: `make bench`, docs/benchmarks.md.
//!
//! All figures of a table come from one run with alternating order and the same pause before each request; the tables
//! quote medians and ratios. All parts are real: the kernel's upcall, an MIT KDC, NFS-Ganesha.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::exit, dead_code, reason = "a bench")]

mod caches;
#[path = "../figures.rs"]
mod figures;
mod goals;
mod load;
mod memory;
#[path = "../../tests/probe/plan.rs"]
mod plan;
mod requester;
mod stages;
#[path = "../../tests/upcall/support/mod.rs"]
mod support;
mod warm;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use figures::{median, print_machine};
use goals::Goal;
use requester::{Plan, Sample, Variant};
use support::ganesha::Ganesha;
use support::ports::free_port;
use support::probe::{Probe, Step};
use support::process::Until;
use support::realm::Realm;
use support::server::Target;
use support::site::Site;

const ROUNDS: usize = 300;
const PAUSE: Duration = Duration::from_millis(30);
/// Fewer rounds, since each is a whole upcall of more than two seconds.
const SLOW_ROUNDS: usize = 20;
/// Fewer rounds, since each reads a list of 50 000 keys.
const CROWDED_ROUNDS: usize = 60;
/// Far above what distributions assign, and apart from the tests' uids.
const FIRST_FOREIGN_UID: u32 = 1_500_000_000;
const KDC_DELAY: Duration = Duration::from_secs(2);

/// `cargo bench … -- blocked`: only the first row of the first table, to compare two programs.
const BLOCKED: &str = "blocked";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some(requester::WORD) => return requester::run(),
        Some(requester::HOLD) => return requester::hold(),
        Some(warm::WORD) => return warm::run(),
        _ => {}
    }
    support::scratch::reap_stale();
    support::machine::require_all();
    print_machine();
    println!("{} keys on the system", keys());
    let realm = Realm::start();
    let ganesha = Ganesha::start(&realm, Until::TestEnds);
    if std::env::args().any(|word| word == caches::WORD) {
        caches::bench(&realm, ganesha.target());
        return;
    }
    let bed = Bed::new(&realm, ganesha.target());
    println!("\n## Requester blocked, in microseconds\n");
    header();
    let few = bed.blocked("few keys", ROUNDS);
    if std::env::args().any(|word| word == BLOCKED) {
        return;
    }
    let others = Foreign::keys(3000);
    bed.blocked("3000 keys of other users", ROUNDS);
    drop(others);
    let mut others = Probe::start(&[Step::JoinSession, Step::AddKeys { count: 50_000 }, Step::Pause]);
    others.until_pause();
    let crowded = bed.blocked("50000 keys of root", CROWDED_ROUNDS);
    drop(others);
    let late = bed.slow_kdc(&realm);
    let before = bed.site.log.lines().len();
    let overhead = bed.established(&realm);
    stages::print(&bed.site.log.lines()[before..]);
    let choice = caches::bench(&realm, bed.target);
    let held = load::one(&realm, bed.target);
    load::many(&realm, bed.target);
    goals::print(&[
        Goal::at_most("blocked p50 with few keys, of the floor's", 1.15, few.ratio),
        Goal::at_most("the same with a late KDC, of that", 1.05, late.ratio / few.ratio),
        Goal::at_most("blocked p99 with 50000 keys, ms (the front's watchdog)", 250.0, crowded.p99 / 1e3),
        Goal::at_most("overhead of an established context, ms", 5.0, overhead),
        Goal::at_most("200 caches over one, ms", 10.0, choice.extra),
        Goal::at_most("requests to the KDC with a ready service ticket", 0.0, choice.kdc_requests),
        Goal::at_most("memory of front and monitor, KiB", 1024.0, held.monitor.pss),
        Goal::at_most("memory of a worker, KiB", 6.0 * 1024.0, held.worker.pss),
    ]);
}

/// Keys of all users: `uid: usage instantiated/keys quota` (proc(5)).
fn keys() -> usize {
    let text = std::fs::read_to_string("/proc/key-users").unwrap();
    let of_line = |line: &str| line.split_whitespace().nth(2)?.split('/').next()?.parse::<usize>().ok();
    text.lines().filter_map(of_line).sum()
}

fn header() {
    println!(
        "| case | rounds | floor p50 | ours p50 | ours p99 | ratio of medians | median of paired ratios |"
    );
    println!("|---|---|---|---|---|---|---|");
}

/// One user with a ticket; separate rules for the upcall and for the floor.
struct Bed<'a> {
    site: Site,
    target: &'a Target,
}

impl<'a> Bed<'a> {
    fn new(realm: &Realm, target: &'a Target) -> Self {
        let site = Site::new(realm);
        site.ticket(realm);
        let floor = site.path("floor");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/upcall/floor.c");
        let built =
            Command::new("cc").args(["-O2", "-static", "-nostdlib", "-o"]).arg(&floor).arg(source).status();
        assert!(built.is_ok_and(|status| status.success()), "cc could not build the floor");
        site.add_rule(&format!("create user lgss-floor:{}:* * {} %k", site.uid(), floor.display()));
        Self { site, target }
    }

    fn floor(&self) -> Variant {
        let description = format!("lgss-floor:{}:", self.site.uid());
        Variant { name: "floor".into(), description, callout: "none".into(), established: false }
    }

    fn ours(&self, name: &str, fields: &str) -> Variant {
        let (service, channel) = (&self.target.service, self.target.channel());
        Variant {
            name: name.into(),
            description: format!("lgss:{}:{service}:{name}", self.site.uid()),
            callout: format!("lgss1;svc={service};chan={channel};level=a{fields}"),
            established: true,
        }
    }

    fn run(&self, variants: Vec<Variant>, rounds: usize) -> Vec<Sample> {
        requester::start(&Plan { uid: self.site.uid(), rounds, pause: PAUSE, variants })
    }

    fn blocked(&self, case: &str, rounds: usize) -> Row {
        let samples = self.run(vec![self.floor(), self.ours("ours", "")], rounds);
        let (floor, ours) = (blocked(&samples, "floor"), blocked(&samples, "ours"));
        row(&format!("{case} ({} on the system)", keys()), &floor, &ours)
    }

    /// The same upcall with a KDC that answers late; in each round the cache has no service ticket yet.
    fn slow_kdc(&self, realm: &Realm) -> Row {
        let proxy = late_kdc((std::net::Ipv4Addr::LOCALHOST, realm.kdc_port()).into());
        let slow = Site::new(realm);
        std::fs::write(slow.path("krb5.conf"), realm.krb5_conf_by(proxy.port())).unwrap();
        let fresh = format!("FILE:{}", slow.path("user").join("ticket").display());
        realm.ticket(slow.uid(), &fresh);
        let bed = Bed { site: slow, target: self.target };
        bed.site.add_rule(&format!(
            "create user lgss-floor:{}:* * {} %k",
            bed.site.uid(),
            self.site.path("floor").display()
        ));
        let pristine = std::fs::read(bed.site.path("user").join("ticket")).unwrap();
        let mut samples = Vec::new();
        for round in 0..SLOW_ROUNDS {
            rewrite(&bed.site.path("user").join("ticket"), &pristine);
            let fields = format!(";cache={fresh}");
            let variants = vec![bed.floor(), bed.ours("ours", &fields)];
            let variants = if round % 2 == 0 { variants } else { variants.into_iter().rev().collect() };
            samples.extend(bed.run(variants, 1));
        }
        let (floor, ours) = (blocked(&samples, "floor"), blocked(&samples, "ours"));
        let row = row("KDC answers after 2 s", &floor, &ours);
        let waited =
            median(&samples.iter().filter_map(|s| s.established).map(|d| d * 1e3).collect::<Vec<_>>());
        println!("\n(the contexts of the last row were established after {waited:.0} ms, median)");
        row
    }

    /// Time to the established context, against the same handshake in a process that has done it before.
    fn established(&self, realm: &Realm) -> f64 {
        let cache = format!("FILE:{}", self.site.default_cache().display());
        let mut warm = warm::Warm::start(realm, self.target, &cache);
        let (mut upcall, mut handshake) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                handshake.push(warm.once());
            }
            let samples = self.run(vec![self.ours("ours", "")], 1);
            upcall.extend(samples.iter().filter_map(|sample| sample.established).map(|d| d * 1e3));
            if round % 2 == 1 {
                handshake.push(warm.once());
            }
        }
        println!("\n## Request to established context, in milliseconds\n");
        println!("| rounds | upcall p50 | warm handshake p50 | overhead |\n|---|---|---|---|");
        let (upcall, handshake) = (median(&upcall), median(&handshake));
        println!("| {ROUNDS} | {upcall:.2} | {handshake:.2} | {:.2} |", upcall - handshake);
        upcall - handshake
    }
}

/// Figures with goals.
struct Row {
    ratio: f64,
    /// In microseconds.
    p99: f64,
}

fn row(case: &str, floor: &[f64], ours: &[f64]) -> Row {
    let paired: Vec<f64> = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
    println!(
        "| {case} | {} | {:.0} | {:.0} | {:.0} | {:.3} | {:.3} |",
        ours.len(),
        median(floor),
        median(ours),
        percentile(ours, 99),
        median(ours) / median(floor),
        median(&paired),
    );
    Row { ratio: median(ours) / median(floor), p99: percentile(ours, 99) }
}

fn blocked(samples: &[Sample], name: &str) -> Vec<f64> {
    let of_name = samples.iter().filter(|sample| sample.name == name);
    of_name
        .map(|sample| sample.blocked.unwrap_or_else(|| panic!("{name}: {:?}", sample.error)) * 1e6)
        .collect()
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Rewrites the file with its previous content; owner and mode stay.
fn rewrite(path: &Path, content: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    file.write_all(content).unwrap();
}

/// Other users with keys, in session keyrings that end with their processes.
struct Foreign(Vec<Child>);

impl Foreign {
    /// A user's quota is two hundred keys.
    const A_USER: usize = 180;

    fn keys(count: usize) -> Self {
        let holders = (0..count.div_ceil(Self::A_USER)).map(|n| {
            let uid = FIRST_FOREIGN_UID + u32::try_from(n).unwrap();
            let mut holder = Command::new(std::env::current_exe().unwrap())
                .args([requester::HOLD, &Self::A_USER.min(count - n * Self::A_USER).to_string()])
                .uid(uid)
                .gid(uid)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut ready = [0];
            holder.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
            holder
        });
        Self(holders.collect())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for holder in &mut self.0 {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
    }
}

/// Passes requests to the KDC, over UDP and TCP, and answers back after the delay. It ends with the process.
fn late_kdc(kdc: SocketAddr) -> SocketAddr {
    let port = free_port();
    let (udp, tcp) =
        (UdpSocket::bind(("127.0.0.1", port)).unwrap(), TcpListener::bind(("127.0.0.1", port)).unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            let (udp, request) = (udp.try_clone().unwrap(), buffer[..length].to_vec());
            std::thread::spawn(move || {
                let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
                upstream.send_to(&request, kdc).unwrap();
                let mut answer = [0; 65536];
                let length = upstream.recv(&mut answer).unwrap();
                std::thread::sleep(KDC_DELAY);
                udp.send_to(&answer[..length], client).unwrap();
            });
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming().map_while(Result::ok) {
            std::thread::spawn(move || relay_late(stream, kdc));
        }
    });
    (std::net::Ipv4Addr::LOCALHOST, port).into()
}

fn relay_late(mut client: TcpStream, kdc: SocketAddr) {
    let read_frame = |stream: &mut TcpStream| -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame)?;
        Ok([&length[..], &frame].concat())
    };
    let Ok(request) = read_frame(&mut client) else { return };
    let mut upstream = TcpStream::connect(kdc).unwrap();
    upstream.write_all(&request).unwrap();
    let answer = read_frame(&mut upstream).unwrap();
    std::thread::sleep(KDC_DELAY);
    let _ = client.write_all(&answer);
}
