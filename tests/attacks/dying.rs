//! Requesters that end while their upcall works: rule S6. Their numbers, namespaces and processes are nobody else's.

use crate::attack::{Attack, End, Scene, World};
use crate::caches::Victim;
use crate::plan::{Finding, Step};
use crate::support::keys::wait_until_forgotten;
use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, as_user};
use crate::support::process::{command, command_as};
use crate::support::server::Server;
use crate::support::wait::{stretched, wait_for};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Moments at which a requester ends with its namespaces, at least, and upcalls that must have begun by then; a busy machine
/// needs more moments, for at most so long.
const MOMENTS: u64 = 16;
const BEGUN: usize = 4;
const DRIVEN_FOR: Duration = Duration::from_secs(30);

pub(crate) fn attacks() -> Vec<Attack> {
    vec![
        Attack::asking(
            "S6",
            "end the thread that asked, so that its number becomes that of a victim's process",
            End::OwnContext,
            give_its_number_away,
        ),
        Attack::asking(
            "S6",
            "ask by a thread that has outlived its process's first one",
            End::OwnContext,
            ask_without_the_first_thread,
        ),
        Attack {
            worlds: &[World::UserNamespace],
            ..Attack::checked(
                "S6",
                "end with all of its namespaces while they are looked at",
                "nobody asks in the host's network",
                die_with_namespaces,
            )
        },
    ]
}

/// The server answers once the victim's process has the number.
fn give_its_number_away(scene: &Scene<'_>) -> Outcome {
    let victim = Victim::new(scene);
    let gate = Arc::new(Mutex::new(()));
    let (closed, passed) = (gate.lock().unwrap(), Arc::clone(&gate));
    let server = Server::between(scene.shared.nfs().address(), move |_| drop(passed.lock()));
    let mut steps = scene.attacker();
    let request = scene.request_to(&scene.shared.nfs().behind(&server), "number");
    steps.extend([Step::RequestByThread(request), Step::Pause, Step::Settle { within_ms: 30_000 }]);
    let mut requester = Probe::start(&steps);
    let findings = requester.until_pause();
    let Some(&Finding::RequestedByThread { tid, serial: serial @ Some(_), .. }) = findings.last() else {
        panic!("{findings:?}")
    };
    let taker = take_number(Pid::from_raw(tid), &victim);
    wait_for("the worker at the server", Duration::from_secs(10), || {
        (server.connections() > 0).then_some(())
    });
    assert_eq!(fs::metadata(format!("/proc/{tid}")).unwrap().uid(), victim.site.uid());
    drop(closed);
    requester.go_on();
    let findings = requester.rest();
    let [_, settled @ Finding::Settled { .. }] = findings.as_slice() else { panic!("{findings:?}") };
    let asked = Finding::Requested { serial, errno: 0, micros: 0 };
    let outcome = Outcome::of_any_wait(&[asked, settled.clone()]);
    victim.expect_unused(scene);
    drop(taker);
    outcome
}

/// A process of the victim's with this number; whoever looked there again would find another network, and the victim's cache.
/// An attacker would start processes until the number comes round; here root says which number is next.
fn take_number(number: Pid, victim: &Victim) -> Probe {
    let mut steps = as_user(victim.site.uid());
    steps.push(Step::Pause);
    let before = (number.as_raw() - 1).to_string();
    wait_for("a process with the number of the thread", Duration::from_secs(20), || {
        let mut unshare = command("unshare");
        unshare.args(["--net", "--"]).arg(env!("CARGO_BIN_EXE_lgss-probe"));
        unshare.env("KRB5CCNAME", format!("FILE:{}", victim.site.default_cache().display()));
        // Last, since every process that others start takes a number.
        fs::write("/proc/sys/kernel/ns_last_pid", &before).unwrap();
        let mut process = Probe::start_with(unshare, &steps);
        (process.pid() == number).then(|| {
            process.until_pause();
            process
        })
    })
}

fn ask_without_the_first_thread(scene: &Scene<'_>) -> Outcome {
    let mut steps = scene.attacker();
    steps.extend([Step::EndFirstThread, Step::Pause, Step::Request(scene.honest_request(""))]);
    steps.push(Step::Settle { within_ms: 30_000 });
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    let status = format!("/proc/{}/status", requester.pid());
    wait_for("the end of the first thread", Duration::from_secs(10), || {
        fs::read_to_string(&status).unwrap().contains("State:\tZ").then_some(())
    });
    requester.go_on();
    Outcome::of(&requester.rest()[1..])
}

/// The requester is alone in its namespaces, with a network where nothing can be reached.
fn die_with_namespaces(scene: &Scene<'_>) {
    let server = Server::silent();
    let target = scene.shared.nfs().behind(&server);
    let start = |kinds: &[&str], name: &str| {
        let request = Step::Request(scene.request_to(&target, name));
        let settle = Step::Settle { within_ms: 30_000 };
        let mut requester =
            Probe::start_with(contained(scene, kinds), &[Step::JoinSession, Step::Pause, request, settle]);
        requester.until_pause();
        requester
    };
    let start_of_all = Instant::now();
    for moment in 0.. {
        if moment >= MOMENTS && scene.ended_upcalls() >= BEGUN {
            break;
        }
        assert!(start_of_all.elapsed() < stretched(DRIVEN_FOR), "hardly any upcall has begun");
        let mut requester = start(&OWN, &format!("end{moment}"));
        requester.go_on();
        // A busy machine only moves the moments.
        std::thread::sleep(Duration::from_micros(700 * moment));
        requester.signal(Signal::SIGKILL);
    }
    let mut living = start(&OWN, "living");
    living.go_on();
    let outcome = Outcome::of(&living.rest()[1..]);
    assert_eq!(outcome.errno(), Errno::ECONNREFUSED, "{:#?}", scene.site.log.lines());
    // And is reaped, which frees its keys.
    drop(living);
    scene.site.wait_until_idle();
    assert_eq!(server.connections(), 0, "{:#?}", scene.site.log.lines());
    // In the host's network the same request reaches the server.
    let mut control = start(&OWN[1..], "control");
    control.go_on();
    wait_for("the worker at the server", Duration::from_secs(10), || {
        (server.connections() > 0).then_some(())
    });
    drop(control);
    drop(server);
    scene.site.wait_until_idle();
    wait_until_forgotten(scene.site.uid());
}

/// Options of unshare(1).
const OWN: [&str; 2] = ["--net", "--mount"];

/// The attacker as root of namespaces of these kinds.
fn contained(scene: &Scene<'_>, kinds: &[&str]) -> Command {
    let mut unshare = command_as(scene.site.uid(), "unshare");
    unshare.args(["--user", "--map-root-user"]).args(kinds).arg("--").arg(env!("CARGO_BIN_EXE_lgss-probe"));
    unshare
}
