//! Floods (rule S8): how much one owner may have at a time, and what happens to an owner whose requests keep failing.

use crate::support::outcome::Outcome;
use crate::support::owner_record::{OwnerRecord, since_boot};
use crate::support::probe::{Finding, Probe, Step, as_user, probe};
use crate::support::server::{Server, Target};
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::wait_for;
use crate::support::waiting::Waiting;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use std::fs;
use std::path::Path;
use std::time::Duration;

crate::trials![
    an_owner_at_its_limit_is_refused_at_once_and_others_are_served,
    a_subordinate_uid_counts_as_its_owner,
    a_container_that_root_has_made_counts_as_one_owner,
    when_all_users_are_at_their_limit_root_is_served,
    root_has_a_limit_of_its_own,
    a_negotiation_that_has_ended_makes_room,
    a_killed_monitor_makes_room,
    an_owner_that_keeps_failing_pauses_and_others_are_served,
    a_success_ends_the_row_of_failures,
    the_pause_holds_for_subordinate_uids,
    lines_over_an_owners_budget_are_counted_and_others_are_heard,
    a_negotiation_is_accounted_to_its_owner_and_needs_less_than_half_of_its_memory,
    a_missing_run_directory_is_made,
    a_run_directory_that_others_may_write_is_not_used,
    a_full_file_system_of_the_run_directory_is_a_fault_of_the_installation,
];

/// A site whose user and second user have tickets.
fn site(shared: &Shared, tables: &str) -> Site {
    let site = Site::with(shared.realm(), &Settings { extra: tables, round: "60s", ..Default::default() });
    site.ticket(shared.realm());
    fs::create_dir(site.path("second")).unwrap();
    std::os::unix::fs::chown(site.path("second"), Some(second(&site)), Some(second(&site))).unwrap();
    shared.realm().ticket(second(&site), &second_cache(&site));
    site
}

/// Another user of the same site.
fn second(site: &Site) -> u32 {
    site.machine_uid()
}

fn second_cache(site: &Site) -> String {
    format!("FILE:{}", site.path("second/tgt").display())
}

fn request(site: &Site, uid: u32, target: &Target, instance: &str) -> Step {
    let mut request = site.request_as(&uid.to_string(), target, instance);
    if uid == second(site) {
        request.callout.as_mut().unwrap().extend(format!(";cache={}", second_cache(site)).bytes());
    }
    Step::Request(request)
}

fn outcome(before: Vec<Step>, request: Step) -> Outcome {
    let first = before.len();
    let mut steps = before;
    steps.extend([request, Step::Settle { within_ms: 30_000 }]);
    Outcome::of(&probe(&steps)[first..])
}

fn ask(site: &Site, uid: u32, target: &Target, instance: &str) -> Outcome {
    outcome(as_user(uid), request(site, uid, target, instance))
}

/// Negotiations that go on until they are dropped.
struct Held {
    server: Server,
    requesters: Vec<Probe>,
}

impl Held {
    fn none() -> Self {
        Self { server: Server::silent(), requesters: Vec::new() }
    }

    /// Adds one, requested after these steps.
    fn add(&mut self, site: &Site, shared: &Shared, before: Vec<Step>, uid: u32) {
        let instance = format!(":held{}", self.requesters.len());
        let mut steps = before;
        steps.extend([request(site, uid, &shared.nfs().behind(&self.server), &instance), Step::Pause]);
        let mut requester = Probe::start(&steps);
        let findings = requester.until_pause();
        assert!(matches!(findings.last(), Some(Finding::Requested { serial: Some(_), .. })), "{findings:?}");
        self.requesters.push(requester);
        wait_for("the worker at the server", Duration::from_secs(10), || {
            (self.server.connections() >= self.requesters.len()).then_some(())
        });
    }
}

fn files_below(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn an_owner_at_its_limit_is_refused_at_once_and_others_are_served(shared: &Shared) {
    let site = site(shared, "[limits]\nper_owner = 2\n");
    let mut held = Held::none();
    for _ in 0..2 {
        held.add(&site, shared, as_user(site.uid()), site.uid());
    }
    assert_eq!(ask(&site, site.uid(), shared.nfs(), ":more").errno(), Errno::EAGAIN);
    site.log.wait_for_words(&["admit", "limits.per_owner", "EAGAIN", &site.remedy(Cause::TooMany)]);
    drop(ask(&site, second(&site), shared.nfs(), "").context());
    drop(held);
}

fn a_subordinate_uid_counts_as_its_owner(shared: &Shared) {
    let site = site(shared, "[limits]\nper_owner = 1\n");
    let (owner, uid) = (site.uid(), second(&site));
    let mut held = Held::none();
    held.add(&site, shared, as_user(owner), owner);
    let inside = vec![Step::SubordinateUser { owner, uid }, Step::JoinSession];
    let refused = outcome(inside, request(&site, uid, shared.nfs(), ""));
    assert_eq!(refused.errno(), Errno::EAGAIN, "log {:#?}", site.log.lines());
    // The same uid outside that user namespace counts as itself.
    drop(ask(&site, uid, shared.nfs(), ":own").context());
    drop(held);
}

/// The owner is everybody in its namespace and in those below it.
fn a_container_that_root_has_made_counts_as_one_owner(shared: &Shared) {
    let site = site(shared, "[limits]\nper_owner = 1\n");
    let (uid, other) = (site.uid(), second(&site));
    let inside = |uid| vec![Step::SubordinateUser { owner: 0, uid }, Step::JoinSession];
    let mut held = Held::none();
    held.add(&site, shared, inside(uid), uid);
    // Another container, and the user outside of all containers, are other owners.
    drop(outcome(inside(other), request(&site, other, shared.nfs(), "")).context());
    drop(ask(&site, uid, shared.nfs(), ":outside").context());
    // In the container that has a negotiation already.
    let pid = held.requesters[0].pid().as_raw();
    let enter = vec![Step::EnterUserNamespaceOf { pid, uid: 1 }, Step::JoinSession];
    let refused = outcome(enter, request(&site, uid, shared.nfs(), ":second"));
    assert_eq!(refused.errno(), Errno::EAGAIN, "log {:#?}", site.log.lines());
    site.log.wait_for_words(&["user namespace", "limits.per_owner"]);
    drop(held);
}

fn when_all_users_are_at_their_limit_root_is_served(shared: &Shared) {
    let site = site(shared, "[limits]\nusers = 1\n");
    let mut held = Held::none();
    held.add(&site, shared, as_user(site.uid()), site.uid());
    assert_eq!(ask(&site, second(&site), shared.nfs(), "").errno(), Errno::EAGAIN);
    site.log.wait_for_words(&["limits.users", "EAGAIN"]);
    // The refused owner leaves no file.
    assert_eq!(files_below(&site.path("run/owners")), [format!("uid-{}", site.uid())]);
    drop(as_root(&site, shared.nfs(), "users").context());
    drop(held);
}

/// Root asks with its own cache.
fn as_root(site: &Site, target: &Target, instance: &str) -> Outcome {
    outcome(vec![Step::JoinSession], root_request(site, target, instance))
}

fn root_request(site: &Site, target: &Target, instance: &str) -> Step {
    let cache = site.path("root-tgt");
    if !cache.exists() {
        fs::copy(site.default_cache(), &cache).unwrap();
    }
    let instance = format!(":{}-{instance}", site.uid());
    let mut request = site.request_as("0", target, &instance);
    request.callout.as_mut().unwrap().extend(format!(";cache=FILE:{}", cache.display()).bytes());
    Step::Request(request)
}

fn root_has_a_limit_of_its_own(shared: &Shared) {
    let site = site(shared, "[limits]\nmachine = 1\n");
    let server = Server::silent();
    let steps = [Step::JoinSession, root_request(&site, &shared.nfs().behind(&server), "held"), Step::Pause];
    let mut requester = Probe::start(&steps);
    requester.until_pause();
    wait_for("the worker at the server", Duration::from_secs(10), || {
        (server.connections() > 0).then_some(())
    });
    assert_eq!(as_root(&site, shared.nfs(), "more").errno(), Errno::EAGAIN);
    site.log.wait_for_words(&["limits.machine", "EAGAIN"]);
    drop(site.ask(shared.nfs()).context());
}

fn a_negotiation_that_has_ended_makes_room(shared: &Shared) {
    let site = site(shared, "[limits]\nper_owner = 1\nusers = 1\n");
    for round in 0..3 {
        drop(ask(&site, site.uid(), shared.nfs(), &format!(":round{round}")).context());
        // The slot is taken until the worker has been reaped, which comes after the key.
        site.wait_until_idle();
    }
    assert_eq!(files_below(&site.path("run/owners")), Vec::<String>::new());
}

fn a_killed_monitor_makes_room(shared: &Shared) {
    let site = site(shared, "[limits]\nper_owner = 1\n");
    let mut held = Held::none();
    held.add(&site, shared, as_user(site.uid()), site.uid());
    kill(site.wait_for_process("lgss_keyring").pid, Signal::SIGKILL).unwrap();
    site.wait_until_idle();
    drop(ask(&site, site.uid(), shared.nfs(), ":next").context());
}

const NO_CACHE: &str = "cache=FILE:/nonexistent/tgt";

/// Fails for lack of a ticket, and waits until the failure has been counted.
fn fail(site: &Site, shared: &Shared, instance: &str) {
    let mut request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{instance}"));
    request.callout.as_mut().unwrap().extend(format!(";{NO_CACHE}").bytes());
    assert_eq!(site.ask_with(request).errno(), Errno::ENOKEY, "log {:#?}", site.log.lines());
    site.wait_until_idle();
}

const PAUSING: &str = "[backoff]\nafter = 2\nfirst = \"10s\"\nlongest = \"10s\"\n";

fn an_owner_that_keeps_failing_pauses_and_others_are_served(shared: &Shared) {
    let site = site(shared, PAUSING);
    for round in 0..3 {
        fail(&site, shared, &format!("failing{round}"));
    }
    let same = site.request_with(shared.nfs(), NO_CACHE);
    assert_eq!(site.ask_with(same).errno(), Errno::EAGAIN);
    site.log.wait_for_words(&[
        "3 requests failed in a row, the last: ENOKEY: credentials: ",
        "paused for another",
        "EAGAIN",
        Cause::Paused.remedy(),
    ]);
    drop(ask(&site, second(&site), shared.nfs(), "").context());
    // The pause ends by itself, at the time in the record.
    let until = OwnerRecord::of(&site).until;
    wait_for("the end of the pause", Duration::from_secs(30), || (since_boot() > until).then_some(()));
    drop(ask(&site, site.uid(), shared.nfs(), ":after").context());
}

fn a_success_ends_the_row_of_failures(shared: &Shared) {
    let site = site(shared, PAUSING);
    for round in 0..3 {
        fail(&site, shared, &format!("first{round}"));
        assert_eq!(files_below(&site.path("run/owners")), [format!("uid-{}", site.uid())]);
        drop(ask(&site, site.uid(), shared.nfs(), &format!(":good{round}")).context());
        site.wait_until_idle();
        assert_eq!(files_below(&site.path("run/owners")), Vec::<String>::new());
        fail(&site, shared, &format!("second{round}"));
        drop(ask(&site, site.uid(), shared.nfs(), &format!(":again{round}")).context());
        site.wait_until_idle();
    }
}

fn the_pause_holds_for_subordinate_uids(shared: &Shared) {
    let site = site(shared, PAUSING);
    for round in 0..3 {
        fail(&site, shared, &format!("failing{round}"));
    }
    let (owner, uid) = (site.uid(), second(&site));
    let inside = vec![Step::SubordinateUser { owner, uid }, Step::JoinSession];
    assert_eq!(outcome(inside, request(&site, uid, shared.nfs(), "")).errno(), Errno::EAGAIN);
}

fn lines_over_an_owners_budget_are_counted_and_others_are_heard(shared: &Shared) {
    const TRIES: usize = 12;
    // These relations belong to the table before, which is that of the log.
    let site = site(shared, "per_owner = 2\nwindow = \"8s\"\n[backoff]\nafter = 1000\n");
    for count in 0..TRIES {
        let mut request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{count}"));
        // A long name that imitates a line of the log.
        request
            .callout
            .as_mut()
            .unwrap()
            .extend(format!(";cache=/tmp/x: established {}", "y".repeat(100)).bytes());
        let _ = outcome(as_user(site.uid()), Step::Request(request)).errno();
    }
    drop(ask(&site, second(&site), shared.nfs(), "").context());
    let owner = format!(" uid {} krb5", site.uid());
    let sum = |line: &str| line.split_once(": log: ")?.1.split_once(" more line")?.0.parse::<usize>().ok();
    let (written, sums) = wait_for("every line or its number", Duration::from_secs(40), || {
        let lines = site.log.lines();
        let sums: Vec<_> = lines.iter().filter_map(|line| sum(line)).collect();
        let written = lines.iter().filter(|line| line.contains(&owner)).count();
        (written + sums.iter().sum::<usize>() == TRIES).then_some((written, sums))
    });
    assert!(!sums.is_empty() && sums.len() <= TRIES / 2, "{written} {sums:?}");
    let lines = site.log.lines();
    assert!(lines.iter().any(|line| line.contains(&format!(" uid {} krb5", second(&site)))), "{lines:#?}");
    assert!(lines.iter().all(|line| line.len() <= 1024), "{lines:#?}");
    assert!(
        lines.iter().all(|line| !line.contains(&owner) || line.contains("\"FILE:/tmp/x: established ")),
        "{lines:#?}"
    );
}

/// This needs cgroup v2.
fn a_negotiation_is_accounted_to_its_owner_and_needs_less_than_half_of_its_memory(shared: &Shared) {
    let mut waiting = Waiting::new(shared);
    let own = format!("/lgss.slice/uid-{}", waiting.site.uid());
    for process in waiting.processes() {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", process.pid)).unwrap();
        // The kernel starts the monitor in another cgroup, and it stays there.
        let is_there = read("cgroup").lines().any(|line| line == format!("0::{own}"));
        assert_eq!(is_there, process.exe.ends_with("lgss_negotiate"), "{}", read("cgroup"));
        let (status, limits) = (read("status"), read("limits"));
        let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
        let peak: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        assert!(peak < 96 * 1024, "{status}");
        if process.exe.ends_with("lgss_negotiate") {
            let space = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
            assert!(space.contains(&(192 * 1024 * 1024).to_string()), "{limits}");
        }
    }
    waiting.requester.go_on();
    drop(waiting.requester.rest());
    waiting.site.wait_until_idle();
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    assert!(mounts.iter().all(|mount| !Path::new(&format!("{mount}{own}")).exists()), "{own} is still there");
}

fn a_missing_run_directory_is_made(shared: &Shared) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let site = site(shared, "");
    fs::remove_dir(site.path("run")).unwrap();
    drop(site.ask(shared.nfs()).context());
    let made = fs::metadata(site.path("run")).unwrap();
    assert_eq!((made.uid(), made.permissions().mode() & 0o7777), (0, 0o700));
}

/// No request is served that cannot be counted.
#[track_caller]
fn expect_unusable(site: &Site, shared: &Shared) {
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::EIO, "log {:#?}", site.log.lines());
    site.log.wait_for_words(&["admit", "/run", "EIO", &site.remedy(Cause::Setup)]);
    site.wait_until_idle();
}

fn a_run_directory_that_others_may_write_is_not_used(shared: &Shared) {
    use std::os::unix::fs::{PermissionsExt, chown};
    let site = site(shared, "");
    chown(site.path("run"), Some(site.uid()), None).unwrap();
    expect_unusable(&site, shared);
    chown(site.path("run"), Some(0), None).unwrap();
    fs::set_permissions(site.path("run"), fs::Permissions::from_mode(0o770)).unwrap();
    expect_unusable(&site, shared);
    // A link to another directory takes its place.
    fs::remove_dir_all(site.path("run")).unwrap();
    std::os::unix::fs::symlink(site.path("user"), site.path("run")).unwrap();
    expect_unusable(&site, shared);
    assert_eq!(files_below(&site.path("user")), Vec::<String>::new());
}

fn a_full_file_system_of_the_run_directory_is_a_fault_of_the_installation(shared: &Shared) {
    use nix::mount::{MsFlags, mount};
    let site = site(shared, "");
    let point = site.mount_point();
    // The file system has room for one inode, its root directory.
    mount(Some("lgss-test"), &point, Some("tmpfs"), MsFlags::empty(), Some("nr_inodes=1,mode=0700")).unwrap();
    let config = fs::read_to_string(site.path("lgss.toml")).unwrap();
    fs::write(site.path("lgss.toml"), config.replace("/run\"", "/mount\"")).unwrap();
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::EIO, "log {:#?}", site.log.lines());
    site.log.wait_for_words(&["admit", "ENOSPC", "EIO"]);
    site.wait_until_idle();
    crate::support::fuse::unmount(&point);
}
