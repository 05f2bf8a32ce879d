//! A name service in a test's network namespace: it knows one address with a name, and aliases of that name.

use super::netns::NetNamespace;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Its records: every name of `aliases` is an alias (CNAME) of `host`; `host` has `address`, and `address` resolves
/// back to `host`.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub(crate) host: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) address: Ipv4Addr,
}

/// Answers until it is dropped.
#[derive(Debug)]
pub(crate) struct NameServer {
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;

impl NameServer {
    /// Listens at the addresses that the host's resolver is configured to ask.
    pub(crate) fn start(net: &NetNamespace, zone: &Zone) -> Self {
        let (asked, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let serve = |socket: UdpSocket| {
            let (asked, stop, zone) = (Arc::clone(&asked), Arc::clone(&stop), zone.clone());
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 1500];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                    let query = &buffer[..length];
                    let (name, kind) = question(query);
                    asked.lock().unwrap().push(name.clone());
                    let _ = socket.send_to(&zone.answer(query, &name, kind), from);
                }
            })
        };
        let threads = net.name_service_sockets().into_iter().map(serve).collect();
        Self { asked, stop, threads }
    }

    /// The names that it was asked for, in lower case.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Zone {
    /// RFC 1035 §4.1: header, the question as it came, answers.
    fn answer(&self, query: &[u8], name: &str, kind: u16) -> Vec<u8> {
        let [a, b, c, d] = self.address.octets();
        let reverse = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
        let alias = self.aliases.iter().any(|alias| alias == name);
        let mut records: Vec<Vec<u8>> = Vec::new();
        if alias && kind != PTR {
            records.push(record(name, CNAME, &encoded(&self.host)));
        }
        if kind == A && (alias || name == self.host) {
            records.push(record(&self.host, A, &self.address.octets()));
        }
        if kind == PTR && name == reverse {
            records.push(record(name, PTR, &encoded(&self.host)));
        }
        let known = alias || name == self.host || name == reverse;
        let count = u16::try_from(records.len()).unwrap();
        // A response, authoritative, recursion available; NXDOMAIN for other names.
        let flags: u16 = if known { 0x8580 } else { 0x8583 };
        let question_end = 12 + encoded(name).len() + 4;
        let mut message = query[..2].to_vec();
        for word in [flags, 1, count, 0, 0] {
            message.extend(word.to_be_bytes());
        }
        message.extend(&query[12..question_end]);
        message.extend(records.concat());
        message
    }
}

/// Name, in lower case, and type of the one question.
fn question(query: &[u8]) -> (String, u16) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).to_ascii_lowercase());
        at += length + 1;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]))
}

fn encoded(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    name.split('.').map(label).chain([vec![0]]).flatten().collect()
}

fn record(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = encoded(name);
    record.extend(kind.to_be_bytes());
    // Class IN, lifetime 0.
    record.extend([0, 1, 0, 0, 0, 0]);
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}
