//! Floods: others are served, and processes, memory and log stay within bounds (rule S8).

use crate::flood::{Flooded, Flooders, percentile, work};
use crate::plan::{Finding, Request, Step};
use crate::support::crowd::Crowd;
use crate::support::probe::{Probe, as_user};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use nix::errno::Errno;
use std::time::{Duration, Instant};

/// Without LGSS_FLOOD_REQUESTS.
const REQUESTS: usize = 2000;
const QUIET: Duration = Duration::from_secs(5);
const SUBORDINATES: usize = 50;
/// Lines that one uid may cause within a window of the log. If some are left out, one more has their number: nothing in
/// subuid(5) says that the fifty have one owner.
const LINES: usize = 20;
/// The same for all refused requests.
const REFUSED: usize = 200;
const WINDOW: Duration = Duration::from_secs(10);
/// Processes: those of the users that work, at most three each, and as many for each process of the flood.
const PROCESSES: usize = 3 * (20 + 8);
/// In KiB, for each process.
const MEMORY: u64 = 8 * 1024;
/// Processes of one user, requests of each at the same time, and how many of them all are served (`limits.per_owner`). More
/// would be over the user's quota of keys.
const PROGRAMS: usize = 2;
const AT_ONCE: usize = 30;
const SERVED: usize = 32;

pub(crate) fn of_one_user() {
    expect_bounds("one user", &Flooders::User(Scratch::new()));
}

pub(crate) fn of_subordinates() {
    let users = (0..SUBORDINATES).map(|_| Scratch::new()).collect();
    expect_bounds("50 subordinate uids", &Flooders::Subordinates { owner: Scratch::new(), users });
}

fn expect_bounds(who: &str, flooders: &Flooders) {
    let requests =
        std::env::var("LGSS_FLOOD_REQUESTS").map_or(REQUESTS, |text| text.parse().expect("a number"));
    let shared = Shared::default();
    let log = format!("window = \"{}s\"\nper_owner = {LINES}\nusers = {REFUSED}\n", WINDOW.as_secs());
    let crowd = Crowd::new(shared.realm(), &log);
    let flooded = flooders.flood(&crowd, shared.nfs(), QUIET, requests);
    let Flooded { requests, over_quota, took, lines, processes, memory, .. } = flooded;
    let [before, during] = [&flooded.quiet, &flooded.flooded]
        .map(|waits| [50, 99].map(|percent| percentile(&waits.whole, percent)));
    println!(
        "flood of {who}: {requests} requests in {took:?}, {over_quota} over quota; {lines} lines; at most {processes} \
         processes, {memory} KiB; others' contexts p50, p99 in ms: quiet {before:.1?}, during {during:.1?}"
    );
    assert!(over_quota < requests / 2, "the kernel refused them");
    let windows = usize::try_from(took.as_secs() / WINDOW.as_secs()).unwrap() + 2;
    let uids = flooders.uids().len();
    assert!(lines <= windows * ((uids * LINES).min(REFUSED) + uids), "{lines} lines");
    assert!(processes <= PROCESSES, "{processes} processes");
    assert!(memory <= MEMORY * u64::try_from(PROCESSES).unwrap(), "{memory} KiB");
}

/// A user asks from many threads at once, and the server of all of them never answers.
pub(crate) fn of_requests_that_hang() {
    let shared = Shared::default();
    let crowd = Crowd::new(shared.realm(), "");
    let server = Server::silent();
    let uid = crowd.users.last().unwrap().uid();
    let silent = shared.nfs().behind(&server);
    let program = |program| {
        let request = |number| {
            let description = format!("lgss:{uid}:{}:hang{program}.{number}", silent.service).into_bytes();
            Request { description, ..crowd.site.request(&silent) }
        };
        let requests = (0..AT_ONCE).map(request).collect();
        let mut steps = as_user(uid);
        steps.extend([Step::RequestEach { requests, within_ms: 60_000 }, Step::Pause]);
        Probe::start(&steps)
    };
    let mut hanging: Vec<_> = (0..PROGRAMS).map(program).collect();
    let findings: Vec<_> = hanging.iter_mut().flat_map(Probe::until_pause).collect();
    let of_program = |finding| if let Finding::Each(each) = finding { each } else { Vec::new() };
    // Those that are over the limit are told so, by the request or by its key.
    let mut errnos = findings.into_iter().flat_map(of_program).map(errno);
    assert!(errnos.all(|errno| errno == 0 || errno == Errno::EAGAIN as i32));
    let all_wait = || (server.connections() == SERVED).then_some(());
    wait_for("all workers at the server", Duration::from_secs(20), all_wait);
    let begun = Instant::now();
    let waits = work(&crowd, shared.nfs(), "others", || begun.elapsed() > QUIET);
    assert_eq!(server.connections(), SERVED);
    let [p50, p99] = [50, 99].map(|percent| percentile(&waits.whole, percent));
    println!("{SERVED} requests of one user hang; others' contexts p50 {p50:.1} ms, p99 {p99:.1} ms");
    drop(hanging);
    drop(server);
    crowd.site.wait_until_idle();
}

/// 0 of a request that has its key.
fn errno(finding: Finding) -> i32 {
    match finding {
        Finding::Requested { serial: Some(_), .. } => 0,
        Finding::Requested { serial: None, errno, .. } => errno,
        other => panic!("not a request: {other:?}"),
    }
}
