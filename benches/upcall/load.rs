//! What upcalls occupy while a server keeps them waiting, and how fast many of them are at the same time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::memory::Memory;
use crate::support::crowd::{Crowd, EACH, USERS, WITHIN};
use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, Step, as_user};
use crate::support::process::Process;
use crate::support::realm::Realm;
use crate::support::server::{Server, Target};
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;

const ALL: usize = USERS * EACH;

/// Memory of a single upcall, which shares pages with other programs of the machine only.
pub(crate) struct Held {
    pub(crate) monitor: Memory,
    pub(crate) worker: Memory,
}

/// One upcall that waits for a server.
pub(crate) fn one(realm: &Realm, target: &Target) -> Held {
    let site = Site::with(realm, &Settings { round: "60s", deadline: "60s", ..Default::default() });
    site.ticket(realm);
    let server = Server::silent();
    let mut steps = as_user(site.uid());
    steps.extend([Step::Request(site.request(&target.behind(&server))), Step::Pause]);
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    wait_for("the worker at the server", WITHIN, || (server.connections() > 0).then_some(()));
    let memory_of = |program| Memory::of(site.wait_for_process(program).pid).unwrap();
    // The front has ended; the monitor has its memory, which they shared.
    let held = Held { monitor: memory_of("lgss_keyring"), worker: memory_of("lgss_negotiate") };
    println!("\n## Memory of one upcall that waits for a server, in KiB\n");
    println!("| process | share (PSS) | its alone |\n|---|---|---|");
    for (name, memory) in [("front and monitor", held.monitor), ("worker", held.worker)] {
        println!("| {name} | {:.0} | {:.0} |", memory.pss, memory.private);
    }
    held
}

/// All at the same time: once as fast as possible, and once held at the server until all are there.
pub(crate) fn many(realm: &Realm, target: &Target) {
    let crowd = Crowd::new(realm, "");
    let mut requesters = crowd.ready(target);
    let begun = Instant::now();
    let mut released = Duration::ZERO;
    expect_contexts(requesters.ask(|| released = begun.elapsed()));
    let took = begun.elapsed();
    crowd.site.wait_until_idle();
    let (processes, memory) = peak(&crowd, target);
    println!("\n## {ALL} upcalls of {USERS} users at the same time\n");
    println!("| figure | |\n|---|---|");
    println!("| all requesters released, ms | {:.0} |", released.as_secs_f64() * 1e3);
    println!("| all contexts established, ms | {:.0} |", took.as_secs_f64() * 1e3);
    println!("| contexts a second | {:.0} |", ALL as f64 / took.as_secs_f64());
    println!("| most processes of ours, all kept waiting | {processes} |");
    println!("| their memory (PSS) then, MiB | {:.0} |", memory.pss / 1024.0);
    println!("| the same for each upcall, KiB | {:.0} |", memory.pss / ALL as f64);
}

/// Memory while all of them wait at the server.
fn peak(crowd: &Crowd, target: &Target) -> (usize, Memory) {
    let gate = Arc::new(Mutex::new(()));
    let (closed, passed) = (gate.lock().unwrap(), Arc::clone(&gate));
    let server = Server::between(target.address(), move |_| drop(passed.lock()));
    let mut seen = (0, Memory::default());
    let all_are_there = || {
        wait_for("all to be at the server", WITHIN, || (server.connections() == ALL).then_some(()));
        let processes = Process::running_from(&crowd.site.path(""));
        seen = (processes.len(), processes.iter().filter_map(|process| Memory::of(process.pid)).sum());
        drop(closed);
    };
    expect_contexts(crowd.ready(&target.behind(&server)).ask(all_are_there));
    crowd.site.wait_until_idle();
    seen
}

fn expect_contexts(outcomes: Vec<Vec<Outcome>>) {
    outcomes.into_iter().flatten().for_each(|outcome| drop(outcome.context()));
}
