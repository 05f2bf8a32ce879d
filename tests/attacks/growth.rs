//! What an attacker's requests leave or cost, and who pays: rule S22.

use crate::attack::{Attack, Scene};
use crate::busy::Busy;
use crate::plan::{Finding, Request, Step};
use crate::support::cache_file::plant;
use crate::support::keys::wait_for_quota;
use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, as_user, probe};
use crate::support::rpc::call_null_with;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) fn attacks() -> Vec<Attack> {
    vec![
        Attack::checked(
            "S22",
            "fill the log with refused requests",
            "its lines have a limit; others are heard",
            fill_the_log,
        ),
        Attack::checked("S22", "leave files by requests of all kinds", "none is left", leave_files),
        Attack::checked(
            "S22",
            "have a worker that is charged to nobody",
            "it is charged to the attacker",
            be_charged,
        ),
        Attack::checked(
            "S22",
            "have a worker read caches that grow in memory",
            "both processes stay small",
            need_memory,
        ),
    ]
}

fn fill_the_log(scene: &Scene<'_>) {
    const REQUESTS: usize = 60;
    const LIMIT: usize = 6;
    const WINDOW: Duration = Duration::from_secs(3);
    limit_lines(&scene.site, LIMIT, WINDOW);
    let mut steps = scene.attacker();
    let before = steps.len();
    steps.extend((0..REQUESTS).map(|number| {
        Step::Request(Request {
            callout: Some(b"x".to_vec()),
            ..scene.honest_request(&format!("fill{number}"))
        })
    }));
    let begun = Instant::now();
    let findings = probe(&steps);
    let windows = usize::try_from(begun.elapsed().as_secs() / WINDOW.as_secs()).unwrap() + 2;
    for finding in &findings[before..] {
        assert_eq!(Outcome::of(std::slice::from_ref(finding)).errno(), Errno::EINVAL);
    }
    be_heard(scene);
    let (own, sum) =
        (format!(" uid {} krb5 ", scene.site.uid()), format!(" of uid {} within ", scene.site.uid()));
    let left_out = |line: &String| {
        let (number, _) = line.split_once(": log: ")?.1.split_once(" more line")?;
        line.contains(&sum).then(|| number.parse::<usize>().unwrap())
    };
    let (written, sums) = wait_for("every line or its number", Duration::from_secs(20), || {
        let lines = scene.site.log.lines();
        let written = lines.iter().filter(|line| line.contains(&own)).count();
        let sums: Vec<_> = lines.iter().filter_map(left_out).collect();
        (written + sums.iter().sum::<usize>() == REQUESTS).then_some((written, sums))
    });
    assert!(!sums.is_empty(), "no line was left out");
    assert!(written <= LIMIT * windows && sums.len() <= windows, "{written} {sums:?} in {windows} windows");
}

fn limit_lines(site: &Site, limit: usize, window: Duration) {
    let settings = fs::read_to_string(site.path("lgss.toml")).unwrap();
    let relations = format!("level = \"info\"\nper_owner = {limit}\nwindow = \"{}s\"\n", window.as_secs());
    let limited = settings.replace("level = \"info\"\n", &relations);
    assert_ne!(limited, settings);
    fs::write(site.path("lgss.toml"), limited).unwrap();
}

/// The line of another user of the same installation is in the log.
fn be_heard(scene: &Scene<'_>) {
    let (site, uid) = (&scene.site, scene.site.machine_uid());
    let request = site.request_as(&uid.to_string(), scene.shared.nfs(), "");
    assert_eq!(site.ask_after(as_user(uid), request).errno(), Errno::ENOKEY);
    site.log.wait_for_words(&[&format!(" uid {uid} krb5 "), "ENOKEY"]);
}

fn leave_files(scene: &Scene<'_>) {
    const TURNS: usize = 8;
    let (site, run) = (&scene.site, scene.site.path("run"));
    // What is there once is not what grows.
    ask_in_all_ways(scene, "first");
    let before = names_below(&run);
    (0..TURNS).for_each(|turn| ask_in_all_ways(scene, &turn.to_string()));
    assert_eq!(names_below(&run), before, "something has been left");
    assert!(site.log.lines().len() > 3 * TURNS, "{:#?}", site.log.lines());
}

/// A request that is malformed, one without a ticket, and one whose requester is killed; the last one has success, which ends
/// the record of a row of failures.
fn ask_in_all_ways(scene: &Scene<'_>, turn: &str) {
    let ask = |name: &str, fields: &str| {
        let mut request = scene.honest_request(&format!("{name}{turn}"));
        request.callout.as_mut().unwrap().extend(fields.bytes());
        scene.ask(request)
    };
    assert_eq!(ask("bad", ";level=x").errno(), Errno::EINVAL);
    assert_eq!(ask("none", ";cache=FILE:/nonexistent/tgt").errno(), Errno::ENOKEY);
    let mut steps = scene.attacker();
    steps.push(Step::Request(scene.honest_request(&format!("killed{turn}"))));
    steps.push(Step::Pause);
    let mut requester = Probe::start(&steps);
    let findings = requester.until_pause();
    assert!(matches!(findings.last(), Some(Finding::Requested { serial: Some(_), .. })), "{findings:?}");
    requester.signal(Signal::SIGKILL);
    drop(requester);
    call_null_with(&ask("good", "").context(), scene.shared.nfs());
    scene.site.wait_until_idle();
    wait_for_quota(scene.site.uid());
}

fn names_below(directory: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            names.push(entry.path());
            directories.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
        }
    }
    names.sort();
    names
}

/// This needs cgroup v2.
fn be_charged(scene: &Scene<'_>) {
    let busy = Busy::new(scene);
    let [worker, _] = busy.read("cgroup");
    let worker = String::from_utf8(worker).unwrap();
    let own = format!("0::/lgss.slice/uid-{}", scene.site.uid());
    assert!(worker.lines().any(|line| line == own), "{worker}");
    let requester = String::from_utf8(busy.of_the_requester("cgroup")).unwrap();
    assert!(requester.lines().all(|line| line != own), "the requester is there itself: {requester}");
    busy.expect_the_worker_to_report();
}

/// Together more than the worker reads, and a small one that would have many parts in memory.
fn need_memory(scene: &Scene<'_>) {
    let place = |name: &str, content: &[u8]| {
        let path = format!("{}_{name}", scene.site.default_cache().display());
        plant(Path::new(&path), content, scene.site.uid());
    };
    let good = fs::read(scene.site.default_cache()).unwrap();
    for name in ["one", "two", "three"] {
        place(name, &[&good[..], &[0, 0, 0, 1, 0, 0, 0, 1], &vec![0xff; 7 << 20]].concat());
    }
    let parts = [0, 0, 0, 1, b'x'].repeat(100_000);
    let name = [&[0, 0, 0, 1][..], &100_000_u32.to_be_bytes(), &[0, 0, 0, 1, b'R'], &parts].concat();
    place("parts", &[&good[..], &name].concat());
    let busy = Busy::new(scene);
    for status in busy.read("status") {
        let status = String::from_utf8(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
        let peak: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        assert!(peak < 96 << 10, "{status}");
    }
    busy.expect_the_worker_to_report();
    scene.site.log.wait_for_words(&["more than 16 MiB in all"]);
    scene.site.log.wait_for_words(&["more than 64 components"]);
}
