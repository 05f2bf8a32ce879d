//! The process that stays to report how many lines of the log were left out (rule S22) keeps nothing of a requester.

use crate::support::keys::{keys_of, wait_until_forgotten};
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::process::Process;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

crate::trials![a_process_that_stays_to_tell_of_lines_left_out_keeps_no_session_of_the_requesters];

fn a_process_that_stays_to_tell_of_lines_left_out_keeps_no_session_of_the_requesters(shared: &Shared) {
    const REQUESTS: usize = 3;
    // These settings continue the table before, which is that of the log.
    let extra = "per_owner = 1\nwindow = \"25s\"\n[backoff]\nafter = 1000\n";
    let site = Site::with(shared.realm(), &Settings { extra, ..Settings::default() });
    let owner = site.uid().to_string();
    let mut steps = as_user(site.uid());
    for count in 0..REQUESTS {
        let request = site.request_as(&owner, shared.nfs(), &format!(":{count}"));
        steps.extend([Step::Request(request), Step::Settle { within_ms: 20_000 }]);
    }
    steps.push(Step::Pause);
    let mut login = Probe::start(&steps);
    let findings = login.until_pause();
    let settled = findings.iter().filter(|finding| matches!(finding, Finding::Settled { .. }));
    assert_eq!(settled.count(), REQUESTS, "{findings:?}");
    let teller = the_only_process(&site);
    assert!(keys_of(site.uid()) > REQUESTS.try_into().unwrap(), "there is a session to be kept");
    login.go_on();
    drop(login.rest());
    // And is reaped.
    drop(login);
    wait_until_forgotten(site.uid());

    assert_eq!(the_only_process(&site), teller, "it stays for longer than that");
    let proc = Path::new("/proc").join(teller.pid.to_string());
    let open: Vec<_> = fs::read_dir(proc.join("fd")).unwrap().flatten().collect();
    let open: Vec<_> = open.iter().map(|entry| fs::read_link(entry.path()).unwrap()).collect();
    // The standard files are closed before it starts; in their place it opens nothing of a requester's.
    let own = |path: &PathBuf| path.starts_with(site.path("run/log")) || path == Path::new("/dev/null");
    assert!(open.iter().all(own) && !open.is_empty(), "{open:?}");
    assert_eq!(fs::read(proc.join("cmdline")).unwrap().iter().filter(|&&byte| byte != 0).count(), 12);
    let groups = fs::read_to_string(proc.join("cgroup")).unwrap();
    assert!(!groups.contains(&format!("uid-{owner}")), "{groups}");

    // A request has a second line while other users have caches in /tmp.
    let told = format!(" more lines of uid {owner} within 25 s, ");
    let number = |line: &String| line.split_once(": log: ")?.1.split_once(&told)?.0.parse::<usize>().ok();
    let left_out = wait_for("the number of lines left out", Duration::from_secs(40), || {
        site.log.lines().iter().find_map(number)
    });
    assert!((REQUESTS - 1..2 * REQUESTS).contains(&left_out), "{left_out}");
    site.wait_until_idle();
}

/// The one process of the upcall that is left.
#[track_caller]
fn the_only_process(site: &Site) -> Process {
    let directory = site.path("");
    wait_for("the others to have ended", Duration::from_secs(10), || {
        <[Process; 1]>::try_from(Process::running_from(&directory)).ok().map(|[process]| process)
    })
}
