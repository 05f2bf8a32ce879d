//! Attacks by timing: rules S6, S8, S9 and S19.

use crate::attack::{Attack, End, Scene};
use crate::caches::Victim;
use crate::plan::{Finding, Request, Step};
use crate::support::cache_file::plant;
use crate::support::forged_lines::look_alikes;
use crate::support::keys::{wait_for_quota, wait_until_forgotten};
use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, probe};
use crate::support::rpc::call_null_with;
use crate::support::server::Server;
use crate::support::site::{RELEASED_WITHIN, Site};
use crate::support::wait::{stretched, wait_for};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long an attack by timing is repeated for what it waits for.
const DRIVEN_FOR: Duration = Duration::from_secs(30);

pub(crate) fn attacks() -> Vec<Attack> {
    vec![
        Attack::checked("S6", "die at any moment of the request", "nothing is left", die),
        Attack::checked("S6", "execute a program during the request", "nothing is left", execute),
        Attack::asking("S6", "forge lines of /proc/keys that name root's process", End::OwnContext, forge),
        Attack::checked(
            "S9",
            "swap the cache for a link to a victim's, again and again",
            "its own context or ENOKEY",
            swap,
        ),
        Attack::checked(
            "S8",
            "ask fifty times at once, of a server that is silent",
            "EAGAIN; others are served",
            flood,
        ),
        Attack::checked("S19", "make one key in a hundred threads at once", "one context", at_once),
    ]
}

fn die(scene: &Scene<'_>) {
    const MOMENTS: u64 = 12;
    let start = Instant::now();
    for moment in 0.. {
        // Else it always died before it asked.
        if moment >= MOMENTS && scene.ended_upcalls() > 0 {
            break;
        }
        assert!(start.elapsed() < stretched(DRIVEN_FOR), "no upcall has begun");
        let mut steps = scene.attacker();
        steps.push(Step::Pause);
        steps.push(Step::Request(scene.honest_request(&format!("die{moment}"))));
        let mut requester = Probe::start(&steps);
        requester.until_pause();
        requester.go_on();
        // A busy machine only moves the moments.
        std::thread::sleep(Duration::from_micros(300 * moment));
        requester.signal(Signal::SIGKILL);
    }
    wait_until_forgotten(scene.site.uid());
}

/// The new program is there as soon as the upcall has released the thread that asked, and the log tells how each upcall ended.
fn execute(scene: &Scene<'_>) {
    const TURNS: usize = 3;
    let start = Instant::now();
    for turn in 0.. {
        if turn >= TURNS && scene.ended_upcalls() >= TURNS {
            break;
        }
        assert!(start.elapsed() < stretched(DRIVEN_FOR), "hardly any upcall has begun");
        let mut steps = scene.attacker();
        steps.push(Step::RequestInExec(scene.honest_request(&format!("exec{turn}"))));
        let findings = probe(&steps);
        let Some(Finding::ExecDone { micros }) = findings.last() else { panic!("{findings:?}") };
        assert!(Duration::from_micros(*micros) < stretched(RELEASED_WITHIN), "held for {micros} µs");
    }
    wait_until_forgotten(scene.site.uid());
}

fn forge(scene: &Scene<'_>) -> Outcome {
    let request = scene.honest_request("");
    let length = request.callout.as_ref().unwrap().len();
    let mut steps = scene.attacker();
    steps.extend(look_alikes(scene.site.uid(), std::process::id(), length));
    scene.site.ask_after(steps, request)
}

/// Stops another thread when it is dropped.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Own cache, link to the victim's, and so on, as fast as possible.
fn swap(scene: &Scene<'_>) {
    let victim = Victim::new(scene);
    let (own, uid) = (scene.site.default_cache(), scene.site.uid());
    let good = fs::read(&own).unwrap();
    let stop = AtomicBool::new(false);
    // In the same file system, and removed with the site's caches.
    let directory = PathBuf::from(format!("{}.new", own.display()));
    fs::create_dir(&directory).unwrap();
    let turn = |content: Option<&[u8]>, target: &Path| {
        let new = directory.join("cache");
        match content {
            Some(content) => plant(&new, content, uid),
            None => {
                symlink(target, &new).unwrap();
                lchown(&new, Some(uid), Some(uid)).unwrap();
            }
        }
        fs::rename(&new, &own).unwrap();
    };
    let (turns, mut served_meanwhile, mut refused) = (AtomicUsize::new(0), false, false);
    std::thread::scope(|scope| {
        // Also if this thread panics, for which the other would be waited for in vain.
        let _stopping = Stopping(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                turn(Some(&good), &own);
                turn(None, &victim.site.default_cache());
                turns.fetch_add(1, Ordering::Relaxed);
            }
            turn(Some(&good), &own);
        });
        let start = Instant::now();
        for number in 0.. {
            if number >= 15 && ((served_meanwhile && refused) || start.elapsed() > DRIVEN_FOR) {
                break;
            }
            wait_for_quota(uid);
            let before = turns.load(Ordering::Relaxed);
            match scene.ask(scene.honest_request(&format!("swap{number}"))) {
                Outcome::Established(context) => {
                    served_meanwhile |= turns.load(Ordering::Relaxed) > before;
                    call_null_with(&context, scene.shared.nfs());
                }
                other => {
                    assert_eq!(other.errno(), Errno::ENOKEY);
                    refused = true;
                }
            }
        }
    });
    let turns = turns.into_inner();
    assert!(
        served_meanwhile && refused,
        "swapped {turns} times: served {served_meanwhile}, refused {refused}"
    );
    victim.expect_unused(scene);
}

fn flood(scene: &Scene<'_>) {
    const REQUESTS: usize = 50;
    /// `limits.per_owner`.
    const SERVED: usize = 32;
    let server = Server::silent();
    let target = scene.shared.nfs().behind(&server);
    let victim = Site::new(scene.shared.realm());
    victim.ticket(scene.shared.realm());
    let requests: Vec<Request> =
        (0..REQUESTS).map(|n| scene.request_to(&target, &format!("flood{n}"))).collect();
    let mut steps = scene.attacker();
    steps.extend([Step::RequestEach { requests, within_ms: 60_000 }, Step::Pause, Step::SettleEach]);
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    // Meanwhile.
    match victim.ask(scene.shared.nfs()) {
        Outcome::Established(context) => call_null_with(&context, scene.shared.nfs()),
        other => panic!("the victim: {other:?}"),
    }
    // Those that come when the server has gone would fail otherwise.
    wait_for("all to be served or refused", Duration::from_secs(20), || {
        let refused = scene.site.log.lines().iter().filter(|line| line.contains("EAGAIN")).count();
        (server.connections() == SERVED && refused == REQUESTS - SERVED).then_some(())
    });
    requester.go_on();
    drop(server);
    let findings = requester.rest();
    let Some(Finding::Each(ends)) = findings.last() else { panic!("{findings:?}") };
    let asked = || Finding::Requested { serial: Some(1), errno: 0, micros: 0 };
    let ends = ends.iter().map(|end| Outcome::of_any_wait(&[asked(), end.clone()]).errno());
    let (away, others): (Vec<_>, Vec<_>) = ends.partition(|errno| *errno == Errno::EAGAIN);
    assert_eq!(away.len(), REQUESTS - SERVED);
    assert!(others.iter().all(|errno| *errno == Errno::EPROTO), "{others:?}");
}

fn at_once(scene: &Scene<'_>) {
    let mut steps = scene.attacker();
    let request = scene.honest_request("once");
    steps.push(Step::RequestAtOnce { request, threads: 100 });
    steps.push(Step::Settle { within_ms: 30_000 });
    let findings = probe(&steps);
    let [.., Finding::RequestedAtOnce { serials }, settled] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert!(serials.iter().all(|serial| *serial != 0 && *serial == serials[0]), "{serials:?}");
    let asked = Finding::Requested { serial: Some(serials[0]), errno: 0, micros: 0 };
    call_null_with(&Outcome::of_any_wait(&[asked, settled.clone()]).context(), scene.shared.nfs());
}
