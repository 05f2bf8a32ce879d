//! Reads and writes of which the kernel does a part only, as on files, pipes and stream sockets it may: the context is
//! established all the same, and nothing is left (rule S19).
//!
//! Each transfer of front, monitor and worker is one byte long once, and once half as long as wanted; then all of them
//! are at the same time. KDCs are asked by TCP, since a datagram is never short.

use crate::injected::{self, inject};
use crate::support::blows::each_call;
use crate::support::outcome::Outcome;
use crate::support::shared::Shared;
use crate::support::site::{Rule, Settings, Site};
use std::sync::atomic::{AtomicU32, Ordering};

crate::trials![
    what_the_front_reads_and_writes_in_parts_makes_no_difference,
    what_the_monitor_reads_and_writes_in_parts_makes_no_difference,
    what_the_worker_reads_and_writes_in_parts_makes_no_difference,
];

/// A launcher whose every byte is a call of its own, and is traced, takes its time.
const SETTINGS: Settings<'_> = Settings { deadline: "40s", kdc: "30s", ..injected::SETTINGS };

/// Shortens every transfer of `role` in turn, of which there are `least` at least.
fn shorten_each_transfer(shared: &Shared, role: &str, least: u32) {
    let points = AtomicU32::new(0);
    each_call(shared, ("shorten", role), &SETTINGS, |site, _, instance| {
        ["byte", "half"].into_iter().all(|part| match shorten(site, shared, &format!("{instance}-{part}")) {
            Some(done) => {
                points.fetch_add(u32::from(done.starts_with("shortened")), Ordering::SeqCst);
                true
            }
            None => false,
        })
    });
    let points = points.into_inner();
    eprintln!("{role}: {points} points");
    assert!(points >= least, "only {points} short transfers of the {role}");
}

/// Shortens all transfers of `role` in one upcall.
fn shorten_all_transfers(shared: &Shared, role: &str, part: &str, least: u32) {
    let settings = Settings { rule: Rule::UpcallUnderKiller, ..SETTINGS };
    let site = Site::with(shared.realm(), &settings);
    let done = shorten(&site, shared, &format!("shorten-{role}-0-{part}")).unwrap_or_default();
    eprintln!("{role}: {}", done.trim_end());
    let short = done.strip_prefix("shortened ").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(short.is_some_and(|short| short >= least), "{role}: {done}");
}

/// The killer's words, if there were so many transfers.
fn shorten(site: &Site, shared: &Shared, instance: &str) -> Option<String> {
    const BY_TCP: &str = "udp_preference_limit = 1";
    if !std::fs::read_to_string(site.path("krb5.conf")).unwrap().contains(BY_TCP) {
        site.libdefaults(BY_TCP);
    }
    // Without a ticket for the service, so that the worker asks the KDC and writes to the cache.
    site.ticket(shared.realm());
    let injected = inject(site, shared, instance);
    match injected.outcome {
        Some(Outcome::Established(_)) => injected.done,
        other => panic!("{instance}: {other:?}, {:?}, log {:#?}", injected.done, site.log.lines()),
    }
}

fn what_the_front_reads_and_writes_in_parts_makes_no_difference(shared: &Shared) {
    shorten_each_transfer(shared, "front", 5);
    // By single bytes it could not look through all keys in time.
    shorten_all_transfers(shared, "front", "half", 1);
}

fn what_the_monitor_reads_and_writes_in_parts_makes_no_difference(shared: &Shared) {
    shorten_each_transfer(shared, "monitor", 15);
    // By single bytes, each of which takes the room of hundreds, the order for the worker would not fit into the socket.
    shorten_all_transfers(shared, "monitor", "half", 10);
}

fn what_the_worker_reads_and_writes_in_parts_makes_no_difference(shared: &Shared) {
    shorten_each_transfer(shared, "worker", 60);
    shorten_all_transfers(shared, "worker", "byte", 5000);
    shorten_all_transfers(shared, "worker", "half", 100);
}
