//! The same handshake in a process that has loaded everything and done it before: the lower bound for every upcall.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lgss::ctx::Level;
use lgss::private_to_lgss::creds::Library;
use lgss::private_to_lgss::creds::{CacheNames, ClientAccount, service_principal};
use lgss::private_to_lgss::negotiate::Krb5;
use lgss::private_to_lgss::negotiate::drive;
use lgss::private_to_lgss::negotiate::tcp;
use lgss::private_to_lgss::negotiate::{Program, RpcTokenClient};

use crate::support::realm::Realm;
use crate::support::server::Target;

/// First word of its command line; it is a separate process because the library reads KRB5_CONFIG.
pub(crate) const WORD: &str = "--warm";
const LIMIT: Duration = Duration::from_secs(10);
const REHEARSALS: usize = 10;

/// The process; it makes one handshake for each line that it reads.
pub(crate) struct Warm(Child, BufReader<std::process::ChildStdout>);

impl Warm {
    pub(crate) fn start(realm: &Realm, target: &Target, cache: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([WORD, cache, &target.service, &target.port.to_string()])
            .env("KRB5_CONFIG", realm.path("krb5.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut warm = Self(child, output);
        for _ in 0..REHEARSALS {
            warm.once();
        }
        warm
    }

    /// Milliseconds from the ticket in the cache to the context.
    pub(crate) fn once(&mut self) -> f64 {
        let mut answer = String::new();
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.1.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap()
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Main function of the process.
pub(crate) fn run() {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let [cache, service, port] = &words[..] else { panic!("cache, service and port") };
    let names = CacheNames { library: cache.clone(), display: cache.clone() };
    let target = Target::nfs(service, port.parse().unwrap());
    for _ in std::io::stdin().lines() {
        let begun = Instant::now();
        handshake(names.clone(), &target);
        println!("{}", begun.elapsed().as_secs_f64() * 1e3);
    }
}

fn handshake(cache: CacheNames, target: &Target) {
    let library = Library::open().unwrap();
    let account = ClientAccount::open(&library, cache).unwrap();
    let server = service_principal(&library, &target.service.parse().unwrap()).unwrap();
    let ticket = account.ticket(&server, &lgss::private_to_lgss::config::Enctypes::default()).unwrap();
    let addresses = tcp::resolve("127.0.0.1", target.port).unwrap();
    let stream = tcp::connect(&addresses, LIMIT).unwrap();
    let program = Program { number: target.program, version: target.version };
    let mut client = RpcTokenClient::new(stream, program, LIMIT);
    drive(Krb5::new(&ticket, Level::Authentication).unwrap(), &mut client).unwrap();
}
