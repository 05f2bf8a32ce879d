//! Blows at one system call after another of an upcall's processes, by the killer of tests/probe.

use super::leftovers::expect_no_keys_left;
use super::shared::Shared;
use super::site::{Rule, Settings, Site};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// One user makes no more requests than this: keys count against a user's quota until they are collected.
const REQUESTS_A_USER: u32 = 25;
/// What a C library, its dynamic loader or Rust's runtime cannot go on without; each then ends the program by a signal.
const NEEDED: [i64; 8] = [
    libc::SYS_arch_prctl,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_poll,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
];

/// `attempt` strikes the call with this number and returns whether there were so many; [`Site::struck`] sees to it that the
/// killer sees the process. Returns how many calls there were.
///
/// # Panics
/// If a process has crashed, or a user's keys stay.
pub(crate) fn each_call(
    shared: &Shared,
    (blow, role): (&str, &str),
    settings: &Settings<'_>,
    attempt: impl Fn(&Site, u32, &str) -> bool + Sync,
) -> u32 {
    let (next, last) = (AtomicU32::new(1), AtomicU32::new(u32::MAX));
    let crashed = Mutex::new(Vec::<String>::new());
    let settings = Settings { rule: Rule::UpcallUnderKiller, ..settings.clone() };
    let strike_all = |site: &Site| {
        for _ in 0..REQUESTS_A_USER {
            let call = next.fetch_add(1, Ordering::SeqCst);
            if call >= last.load(Ordering::SeqCst) {
                return false;
            }
            if !attempt(site, call, &format!("{blow}-{role}-{call}")) {
                last.fetch_min(call, Ordering::SeqCst);
            }
        }
        true
    };
    let work = || {
        let mut goes_on = true;
        while goes_on {
            let site = Site::with(shared.realm(), &settings);
            site.ticket(shared.realm());
            goes_on = strike_all(&site);
            site.wait_until_idle();
            let up_to = next.load(Ordering::SeqCst);
            expect_no_keys_left(&site, &format!("after {blow}-{role}-<call>, calls before {up_to}"));
            crashed.lock().unwrap().extend(crashes(&site));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let (excused, others): (Vec<_>, Vec<_>) =
        crashed.into_inner().unwrap().into_iter().partition(|crash| is_excused(crash, role));
    if !excused.is_empty() {
        eprintln!("{blow} {role}: {} ended by the runtime: {excused:#?}", excused.len());
    }
    assert!(others.is_empty(), "crashes: {others:#?}");
    last.into_inner() - 1
}

/// What the killer has seen of processes that died of a signal which nobody had sent, a line for each.
pub(crate) fn crashes(site: &Site) -> Vec<String> {
    let files = fs::read_dir(site.path("killed")).unwrap().map(|entry| entry.unwrap().path());
    let told = files.filter(|path| path.extension().is_some_and(|extension| extension == "crash"));
    told.flat_map(|path| {
        let instance = path.file_stem().unwrap().to_string_lossy().into_owned();
        let lines = fs::read_to_string(&path).unwrap();
        lines.lines().map(|line| format!("{instance}: {line}")).collect::<Vec<_>>()
    })
    .collect()
}

/// Whether the struck process itself was ended, by the runtime, at a call that failed.
fn is_excused(crash: &str, role: &str) -> bool {
    let itself =
        |signal| crash.to_lowercase().contains(&format!(": {role} died of {signal} after failed call "));
    let number = crash.split_once(" number ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    (itself("sigabrt") || itself("sigsegv")) && number.is_some_and(|number: i64| NEEDED.contains(&number))
}
