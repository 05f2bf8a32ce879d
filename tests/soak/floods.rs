//! Floods: others are served, and processes, memory and log stay within bounds (rule S8).

use crate::flood::{AT_A_TIME, Flooded, Flooders, HONEST, Waits, most, percentile, work};
use crate::hanging_kdc::HangingKdc;
use crate::plan::{Finding, Request, Step};
use crate::support::crowd::Crowd;
use crate::support::probe::{Probe, as_user};
use crate::support::scratch::Scratch;
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::RELEASED_WITHIN;
use crate::support::wait::{stretched, wait_for};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The variable with the number of requests, and how many there are without it.
const FLOOD_REQUESTS: &str = "LGSS_FLOOD_REQUESTS";
const REQUESTS: usize = 2000;
const QUIET: Duration = Duration::from_secs(5);
/// Until a context is there, on a machine with nothing else to do.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
const SUBORDINATES: usize = 50;
/// Lines that one uid may cause within a window of the log (`log.per_owner`). If some are left out, one more has their number:
/// nothing in subuid(5) says that the fifty have one owner.
const LINES: usize = 20;
/// The same for all refused requests (`log.users`).
const REFUSED: usize = 200;
const WINDOW: Duration = Duration::from_secs(3);
/// Processes: at most three for each that asks at a time, and those that stay to report lines that were left out.
const PROCESSES: usize = 3 * (HONEST + AT_A_TIME) + 32;
/// In KiB, of each process on average: a worker with MIT Kerberos has half of that, all others a fraction.
const MEMORY: u64 = 16 * 1024;
/// How many times as long as without a flood the slowest of a hundred may wait.
const HELD_UP: f64 = 3.0;
/// Shorter waits are nothing that a user notices, and a quiet machine's are so short that its other work decides. With
/// LGSS_FLOOD_REQUESTS, for figures, they count.
const UNNOTICED: Duration = Duration::from_millis(500);
/// Processes of one user, requests of each at the same time, and how many of them all are served (`limits.per_owner`). More
/// would be over the user's quota of keys.
const PROGRAMS: usize = 2;
const AT_ONCE: usize = 30;
const SERVED: usize = 32;
/// Processes of a fork bomb. With a session keyring and a key for each they stay within the user's quota of keys.
const BOMB: usize = 90;
const BOMB_BURNS: Duration = Duration::from_secs(10);

pub(crate) fn of_one_user() {
    expect_bounds("one user", &Flooders::User(Scratch::new()));
}

pub(crate) fn of_subordinates() {
    let users = (0..SUBORDINATES).map(|_| Scratch::new()).collect();
    expect_bounds("50 subordinate uids", &Flooders::Subordinates { owner: Scratch::new(), users });
}

fn expect_bounds(who: &str, flooders: &Flooders) {
    let requests = std::env::var(FLOOD_REQUESTS).map_or(REQUESTS, |text| text.parse().expect("a number"));
    let shared = Shared::default();
    let log = format!("window = \"{}s\"\nper_owner = {LINES}\nusers = {REFUSED}\n", WINDOW.as_secs());
    let crowd = Crowd::new(shared.realm(), &log);
    let flooded = flooders.flood(&crowd, shared.nfs(), QUIET, requests);
    let Flooded { requests, over_quota, took, lines, ours, .. } = flooded;
    println!(
        "flood of {who}: {requests} requests in {took:?}, {over_quota} over quota; {lines} lines; {ours:?}"
    );
    assert!(over_quota < requests / 2, "the kernel refused them");
    expect_not_held_up(&flooded.quiet, &flooded.flooded);
    let windows = usize::try_from(took.as_secs() / WINDOW.as_secs()).unwrap() + 2;
    let uids = flooders.uids().len();
    assert!(lines > 0 && lines <= windows * ((uids * LINES).min(REFUSED) + uids), "{lines} lines");
    assert!(ours.processes <= PROCESSES && ours.of_each <= MEMORY, "{ours:?}");
}

/// A user asks from many threads at once, and the server of all of them never answers.
pub(crate) fn of_requests_that_hang() {
    let shared = Shared::default();
    let crowd = Crowd::new(shared.realm(), "[backoff]\nafter = 1000\n");
    let server = Server::silent();
    let uid = crowd.users.last().unwrap().uid();
    let silent = shared.nfs().behind(&server);
    let begun = Instant::now();
    let quiet = work(&crowd, shared.nfs(), "quiet", |_| (), || begun.elapsed() > QUIET);
    let hanging = ask_at_once(&crowd, uid, &silent);
    wait_until_served(&crowd, || server.connections());
    let begun = Instant::now();
    let waits = work(&crowd, shared.nfs(), "others", |_| (), || begun.elapsed() > QUIET);
    assert_eq!(server.connections(), SERVED);
    println!("{SERVED} requests of one user hang");
    expect_not_held_up(&quiet, &waits);
    drop(hanging);
    drop(server);
    crowd.site.wait_until_idle();
}

/// One user's requests for one service hang at the KDC, which answers all others. Everybody has no ticket for a service but
/// what the KDC gives.
pub(crate) fn of_a_kdc_that_hangs() {
    let shared = Shared::default();
    let realm = shared.realm();
    let crowd = Crowd::new(realm, "[backoff]\nafter = 1000\n");
    // The first component of a principal, as DER has it.
    let kdc = HangingKdc::before(realm.kdc_port(), b"\x1b\x04hang");
    std::fs::write(crowd.site.path("krb5.conf"), realm.krb5_conf_by(kdc.port())).unwrap();
    let cache = |uid: u32| format!("/tmp/krb5cc_{uid}");
    let uids = crowd.users.iter().map(Scratch::uid);
    let first: BTreeMap<_, _> = uids.map(|uid| (uid, std::fs::read(cache(uid)).unwrap())).collect();
    let forget = |uid: u32| {
        let mut file = File::options().write(true).truncate(true).open(cache(uid)).unwrap();
        file.write_all(&first[&uid]).unwrap();
    };
    let serve = |phase| {
        let (begun, asked) = (Instant::now(), realm.kdc_requests());
        let waits = work(&crowd, shared.nfs(), phase, forget, || begun.elapsed() > QUIET);
        wait_for("the KDC's log", Duration::from_secs(10), || {
            (realm.kdc_requests() - asked >= waits.whole.len()).then_some(())
        });
        waits
    };
    let quiet = serve("quiet");
    let uid = crowd.users.last().unwrap().uid();
    let hung = shared.nfs().called(&format!("hang@{}", realm.host()));
    let hanging = ask_at_once(&crowd, uid, &hung);
    wait_until_served(&crowd, || kdc.kept());
    let during = serve("others");
    let lines = crowd.site.log.lines();
    let ended =
        lines.iter().filter(|line| line.contains(&format!(" uid {uid} ")) && !line.contains("per_owner"));
    assert_eq!(ended.collect::<Vec<_>>(), [""; 0], "some hang no longer");
    println!("{SERVED} requests hang at the KDC");
    expect_not_held_up(&quiet, &during);
    drop(hanging);
    drop(kdc);
    crowd.site.wait_until_idle();
}

/// A user who has a ticket forks as often as it may, and each process asks, again and again, for one more context. It does so
/// in a session of its own, by which the kernel divides the processors (sched_autogroup_enabled in sched(7)); without that
/// the others are served, but not in time.
pub(crate) fn of_a_fork_bomb() {
    let shared = Shared::default();
    // What stays to report lines that were left out stays for a window.
    let settings = format!("window = \"{}s\"\n[backoff]\nafter = 1000\n", WINDOW.as_secs());
    let crowd = Crowd::new(shared.realm(), &settings);
    let begun = Instant::now();
    let quiet = work(&crowd, shared.nfs(), "quiet", |_| (), || begun.elapsed() > QUIET);
    let uid = crowd.users.last().unwrap().uid();
    let description = format!("lgss:{uid}:{}:bomb", shared.nfs().service).into_bytes();
    let request = Request { description, ..crowd.site.request(shared.nfs()) };
    let for_ms = BOMB_BURNS.as_millis().try_into().unwrap();
    let mut steps = as_user(uid);
    steps.push(Step::ForkBomb { request, processes: BOMB.try_into().unwrap(), for_ms });
    let over = AtomicBool::new(false);
    let (during, findings, ours) = std::thread::scope(|scope| {
        let during =
            scope.spawn(|| work(&crowd, shared.nfs(), "during", |_| (), || over.load(Ordering::Relaxed)));
        let seen = scope.spawn(|| most(&crowd, &over));
        let findings = scope.spawn(|| Probe::start(&steps).rest()).join();
        over.store(true, Ordering::Relaxed);
        (during.join().unwrap(), findings.unwrap(), seen.join().unwrap())
    });
    let Some(Finding::Exploded { forks, requests, keys, over_quota }) = findings.last() else {
        panic!("{findings:?}")
    };
    println!("fork bomb: {forks} forks, {requests} requests, {keys} keys, {over_quota} over quota; {ours:?}");
    assert!(*forks >= 50 && *requests >= 100 && *keys > 0, "{findings:?}");
    if std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|on| on.trim() == "1") {
        expect_not_held_up(&quiet, &during);
    }
    // A process of the bomb's waits for one of ours at most; the rest is what limits allow.
    let most = BOMB + 3 * (HONEST + SERVED) + 32;
    assert!(ours.processes <= most && ours.of_each <= MEMORY, "{ours:?}");
    crowd.site.wait_until_idle();
}

/// Programs of one user, each of which has made its requests and been released. With their end the requests end.
fn ask_at_once(crowd: &Crowd, uid: u32, target: &Target) -> Vec<Probe> {
    let program = |program| {
        let request = |number| {
            let description = format!("lgss:{uid}:{}:hang{program}.{number}", target.service).into_bytes();
            Request { description, ..crowd.site.request(target) }
        };
        let requests = (0..AT_ONCE).map(request).collect();
        let mut steps = as_user(uid);
        steps.extend([Step::RequestEach { requests, within_ms: 60_000 }, Step::Pause]);
        Probe::start(&steps)
    };
    let mut programs: Vec<_> = (0..PROGRAMS).map(program).collect();
    for program in &mut programs {
        let findings = program.until_pause();
        let Some(Finding::Each(each)) = findings.last() else { panic!("{findings:?}") };
        assert_eq!(each.len(), AT_ONCE);
    }
    programs
}

/// Waits until as many hang as one owner may have, and the others have been refused.
fn wait_until_served(crowd: &Crowd, hanging: impl Fn() -> usize) {
    wait_for("all to be served or refused", Duration::from_secs(20), || {
        let lines = crowd.site.log.lines();
        let refused =
            lines.iter().filter(|line| line.contains("limits.per_owner") && line.contains("EAGAIN")).count();
        (hanging() >= SERVED && refused == PROGRAMS * AT_ONCE - SERVED).then_some(())
    });
}

/// Whoever works has its context in time, and waits for it not much longer than when nobody floods.
#[track_caller]
fn expect_not_held_up(quiet: &Waits, during: &Waits) {
    let [before, meanwhile] =
        [quiet, during].map(|waits| [50, 99].map(|percent| percentile(&waits.whole, percent)));
    println!("others' contexts, p50 and p99 in ms: quiet {before:.1?}, during {meanwhile:.1?}");
    [quiet, during].into_iter().for_each(expect_served);
    let unnoticed =
        if std::env::var_os(FLOOD_REQUESTS).is_none() { stretched(UNNOTICED) } else { Duration::ZERO };
    let limit = (HELD_UP * before[1]).max(in_ms(unnoticed));
    assert!(meanwhile[1] <= limit, "held up: {meanwhile:?} after {before:?}");
}

/// Whoever works is released and has its context in time.
#[track_caller]
fn expect_served(waits: &Waits) {
    assert!(percentile(&waits.blocked, 99) < in_ms(stretched(RELEASED_WITHIN)), "{:?}", waits.blocked);
    assert!(percentile(&waits.whole, 99) < in_ms(stretched(SERVED_WITHIN)), "{:?}", waits.whole);
}

fn in_ms(limit: Duration) -> f64 {
    limit.as_secs_f64() * 1e3
}
