//! What requests of KCM cost with `lgss_agent` and with SSSD's daemon: `make bench-kcm`, docs/benchmarks.md.
//!
//! One run, alternating order, the same bytes to both, medians and ratios. Both serve one user by a socket of their own, and a
//! connection that stays open, as those of a program that asks several times. The programs are real; the tickets are made up.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::exit, dead_code, reason = "a bench")]

#[path = "../figures.rs"]
mod figures;
#[path = "../upcall/memory.rs"]
mod memory;
#[path = "../../tests/probe/plan.rs"]
mod plan;
#[path = "../../tests/upcall/support/mod.rs"]
mod support;

use std::os::unix::net::UnixStream;
use std::time::Instant;

use figures::{median, print_machine};
use memory::Memory;
use nix::unistd::{Uid, seteuid};
use support::agent::{KcmClient, credential, named, principal};
use support::kcm::Kcm;
use support::realm::Realm;
use support::site::Site;

const ROUNDS: usize = 100;
/// Of those with many tickets.
const LARGE_ROUNDS: usize = 20;
const SMALL: usize = 10;
const LARGE: usize = 1000;
/// Bytes of a ticket, as of a realm without authorisation data.
const TICKET: usize = 600;
/// In 2100.
const END_TIME: u32 = 4_102_444_800;

const GENERATE: u16 = 3;
const INITIALIZE: u16 = 4;
const DESTROY: u16 = 5;
const STORE: u16 = 6;
const RETRIEVE: u16 = 7;
const DEFAULT: u16 = 20;
const LIST: u16 = 13001;

fn main() {
    support::scratch::reap_stale();
    support::machine::require_all();
    print_machine();
    let realm = Realm::start();
    let sites = [Site::new(&realm), Site::new(&realm)];
    let servers = [
        Server::new("sssd_kcm", Kcm::start(&sites[0]), sites[0].uid()),
        Server::new("lgss_agent", Kcm::start_agent(&sites[1]), sites[1].uid()),
    ];
    let mut clients = [servers[0].client(), servers[1].client()];
    println!(
        "\n| what | rounds | sssd_kcm p50 | lgss_agent p50 | median of paired ratios |\n|---|---|---|---|---|"
    );
    small(&servers, &mut clients);
    let empty = servers.each_ref().map(Server::memory);
    large(&mut clients);
    println!(
        "\nMemory in KiB, proportional (PSS) and private, with the caches of the small table gone, and with {LARGE} tickets:\n"
    );
    println!("| server | empty | with {LARGE} tickets |\n|---|---|---|");
    for (server, before) in servers.iter().zip(empty) {
        let after = server.memory();
        println!(
            "| {} | {:.0}, {:.0} | {:.0}, {:.0} |",
            server.name, before.pss, before.private, after.pss, after.private
        );
    }
}

struct Server {
    name: &'static str,
    kcm: Kcm,
    uid: u32,
}

impl Server {
    fn new(name: &'static str, kcm: Kcm, uid: u32) -> Self {
        Self { name, kcm, uid }
    }

    /// A connection of the user's: the server goes by the ids at connect(2).
    fn client(&self) -> Client {
        seteuid(Uid::from_raw(self.uid)).unwrap();
        let socket = UnixStream::connect(&self.kcm.socket).unwrap();
        seteuid(Uid::from_raw(0)).unwrap();
        Client { kcm: KcmClient::over(socket), retrieves: self.name == "lgss_agent" }
    }

    fn memory(&self) -> Memory {
        Memory::of(self.kcm.pid()).unwrap()
    }
}

struct Client {
    kcm: KcmClient,
    /// Whether the server knows that request.
    retrieves: bool,
}

impl Client {
    /// A cache without tickets, by its name.
    fn cache(&mut self) -> String {
        let name = self.kcm.done(GENERATE, &[]);
        let name = String::from_utf8(name.strip_suffix(&[0]).unwrap().to_vec()).unwrap();
        self.kcm.done(INITIALIZE, &named(&name, &principal("alice")));
        name
    }

    fn store(&mut self, cache: &str, number: usize) {
        self.kcm.done(STORE, &named(cache, &credential(&server(number), TICKET, END_TIME)));
    }

    fn list(&mut self, cache: &str, expected: usize) {
        let listed = self.kcm.done(LIST, &named(cache, &[]));
        let count = u32::from_be_bytes(listed[..4].try_into().unwrap());
        assert_eq!(usize::try_from(count).unwrap(), expected);
    }

    /// As MIT's library in the end: SSSD's daemon does not know the request and closes the connection, so all tickets are listed
    /// there. The vain request is left out, in its favour.
    fn retrieve(&mut self, cache: &str, number: usize, of: usize) {
        if !self.retrieves {
            return self.list(cache, of);
        }
        let server = principal(&server(number));
        let pattern = [&[0_u8; 4][..], &2_u32.to_be_bytes(), &server, &[0; 4 * 4 + 1 + 4]].concat();
        assert!(self.kcm.done(RETRIEVE, &named(cache, &pattern)).len() > TICKET);
    }
}

fn server(number: usize) -> String {
    format!("host/h{number}.example.test")
}

/// Microseconds of each round, by what was done.
struct Row {
    what: String,
    times: [Vec<f64>; 2],
}

impl Row {
    fn new(what: &str) -> Self {
        Self { what: what.to_owned(), times: [Vec::new(), Vec::new()] }
    }

    fn time(&mut self, which: usize, count: usize, work: impl FnOnce()) {
        let begun = Instant::now();
        work();
        self.times[which].push(begun.elapsed().as_secs_f64() * 1e6 / count as f64);
    }

    fn print(&self) {
        let [theirs, ours] = &self.times;
        let ratios: Vec<f64> = theirs.iter().zip(ours).map(|(theirs, ours)| ours / theirs).collect();
        let (rounds, a, b) = (ours.len(), median(theirs), median(ours));
        println!("| {} | {rounds} | {a:.1} | {b:.1} | {:.3} |", self.what, median(&ratios));
    }
}

fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

fn small(servers: &[Server; 2], clients: &mut [Client; 2]) {
    let [mut connect, mut store, mut list, mut retrieve] =
        ["connect and ask for the default cache", "store a ticket", "list 10 tickets", "retrieve one of 10"]
            .map(Row::new);
    for round in 0..ROUNDS {
        for which in order(round) {
            connect.time(which, 1, || {
                servers[which].client().kcm.call(DEFAULT, &[]);
            });
            let client = &mut clients[which];
            let cache = client.cache();
            store.time(which, SMALL, || (0..SMALL).for_each(|number| client.store(&cache, number)));
            list.time(which, 5, || (0..5).for_each(|_| client.list(&cache, SMALL)));
            retrieve.time(which, SMALL, || {
                (0..SMALL).for_each(|number| client.retrieve(&cache, number, SMALL));
            });
            client.kcm.done(DESTROY, &named(&cache, &[]));
        }
    }
    [connect, store, list, retrieve].iter().for_each(Row::print);
}

fn large(clients: &mut [Client; 2]) {
    let [mut fill, mut list, mut retrieve] =
        ["store one of 1000 tickets", "list 1000 tickets", "retrieve the last of 1000"].map(Row::new);
    let caches = [0, 1].map(|which: usize| {
        let client = &mut clients[which];
        let cache = client.cache();
        fill.time(which, LARGE, || (0..LARGE).for_each(|number| client.store(&cache, number)));
        cache
    });
    for round in 0..LARGE_ROUNDS {
        for which in order(round) {
            let client = &mut clients[which];
            list.time(which, 1, || client.list(&caches[which], LARGE));
            retrieve.time(which, 1, || client.retrieve(&caches[which], LARGE - 1, LARGE));
        }
    }
    [fill, list, retrieve].iter().for_each(Row::print);
}
