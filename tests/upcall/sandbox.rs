//! The worker's sandbox: what a worker that was taken over can still do, by each half and both; and that honest ones work in
//! each of its settings.

use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::chown;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

crate::trials![
    a_worker_that_was_taken_over_can_do_its_own_work_only,
    each_setting_of_the_sandbox_serves_an_honest_worker,
    a_worker_killed_by_its_sandbox_is_told_from_one_that_crashed,
];

/// The trials of tests/hostile_worker/captive.rs, in the order of the columns.
const TRIALS: [&str; 6] = ["none", "Landlock", "seccomp", "both", "answers", "plugins"];
/// What a worker does itself.
const OWN_WORK: [&str; 4] =
    ["read /etc/hosts", "start a thread", "look at the time", "send to an open socket"];
/// What the first phase of each sandbox needs, so that an attacker has it too.
const ALSO_POSSIBLE: [(&str, &str); 5] = [
    // As a part of loading libraries.
    ("make code in memory", "both"),
    ("make code in memory", "plugins"),
    ("make a local socket", "plugins"),
    ("write to the system log", "plugins"),
    ("connect to another port", "plugins"),
];

/// What it needs besides where a daemon knows host names.
const POSSIBLE_WITH_DAEMONS: [(&str, &str); 2] =
    [("make a local socket", "both"), ("write to the system log", "both")];

/// Whether nsswitch.conf names more for hosts than files and DNS.
pub(crate) fn daemons_know_names() -> bool {
    let text = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let hosts = text.lines().find_map(|line| line.strip_prefix("hosts:")).unwrap_or_default();
    hosts.split_whitespace().any(|word| !["files", "dns", "myhostname"].contains(&word))
}

/// The first version of Landlock that prevents an attempt that seccomp allows; without it the attempt may succeed.
fn needs_landlock(attempt: &str) -> i32 {
    match attempt {
        "reach an abstract socket" => 6,
        "connect to another port" => 4,
        _ => 1,
    }
}

/// Result of each attempt in each trial: an errno, 0 for success, or the negative number of a signal.
type Results = BTreeMap<(String, String), i32>;

/// The results, and the attempts in their order.
fn attempts(shared: &Shared) -> (Vec<String>, Results) {
    let worker = env!("CARGO_BIN_EXE_lgss-hostile-worker");
    let site = Site::with(
        shared.realm(),
        &Settings { worker, sandbox: "off", deadline: "120s", ..Default::default() },
    );
    site.ticket(shared.realm());
    let secret = site.path("user").join("secret");
    std::fs::write(&secret, "a private key").unwrap();
    chown(&secret, Some(site.uid()), Some(site.uid())).unwrap();
    // Unlike the requester, it has become the user before its exec, so that the user may trace it.
    let mut victim = Command::new("sleep").arg("600").uid(site.uid()).gid(site.uid()).spawn().unwrap();
    let host = format!("h{}.test", site.uid());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&host).unwrap()).unwrap();
    socket.set_read_timeout(Some(stretched(Duration::from_secs(60)))).unwrap();
    // The next port has a listener, which no setting names.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port() - 1;
    let target = Target::nfs(&format!("captive@{host}"), port);
    let found = std::thread::scope(|scope| {
        let asking = scope.spawn(|| site.ask(&target));
        let (mut names, mut results) = (Vec::new(), Results::new());
        let mut buffer = [0; 1024];
        loop {
            let length = socket.recv(&mut buffer).expect("the worker tells what it tried");
            let line: serde_json::Value = serde_json::from_slice(&buffer[..length]).unwrap();
            let attempt = line["attempt"].as_str().unwrap();
            let Some((name, trial)) = attempt.split_once('|') else { break };
            if trial != "version" && names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
            let result = i32::try_from(line["errno"].as_i64().unwrap()).unwrap();
            results.insert((name.to_owned(), trial.to_owned()), result);
        }
        // It ends without a report.
        assert_eq!(asking.join().unwrap().errno(), Errno::EIO);
        (names, results)
    });
    victim.kill().unwrap();
    victim.wait().unwrap();
    found
}

fn word(result: i32) -> String {
    match result {
        0 => "possible".to_owned(),
        death if death < 0 => format!("killed ({})", nix::sys::signal::Signal::try_from(-death).unwrap()),
        errno => format!("{:?}", Errno::from_raw(errno)),
    }
}

/// Writes the table to docs/security-results.md if the variable LGSS_WRITE_PAGES is set. Otherwise compares the names of the
/// attempts only: results depend on the kernel.
fn check_document(table: &str, names: &[String]) {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security-results.md");
    const START: &str = "<!-- sandbox: written by tests/upcall/sandbox.rs -->\n\n";
    const END: &str = "\n<!-- end of sandbox -->\n";
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(START).expect("where the table begins");
    let (written, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("LGSS_WRITE_PAGES").is_some() {
        std::fs::write(FILE, format!("{before}{START}{table}{END}{after}")).unwrap();
        return;
    }
    let rows = written.lines().skip(2).map(|row| row.split('|').nth(1).unwrap().trim());
    assert!(
        rows.eq(names),
        "docs/security-results.md has other attempts: LGSS_WRITE_PAGES=1 cargo test --features test-programs --test upcall own_work_only"
    );
}

/// The table of docs/security-results.md.
fn table(names: &[String], results: &Results) -> String {
    let mut table = format!("| attempt | {} |\n|---{}|\n", TRIALS.join(" | "), "|---".repeat(TRIALS.len()));
    for name in names {
        let row: Vec<_> =
            TRIALS.iter().map(|trial| word(results[&(name.clone(), (*trial).to_owned())])).collect();
        writeln!(table, "| {name} | {} |", row.join(" | ")).unwrap();
    }
    table
}

fn a_worker_that_was_taken_over_can_do_its_own_work_only(shared: &Shared) {
    let (names, results) = attempts(shared);
    let table = table(&names, &results);
    assert!(names.len() > 60, "too little was tried:\n{table}");
    let unfit: Vec<_> = results.iter().filter(|(_, result)| **result == 255).collect();
    assert!(unfit.is_empty(), "the test itself failed: {unfit:?}\n{table}");
    check_document(&table, &names);
    for (trial, own) in ["none", "Landlock", "seccomp", "both", "plugins"]
        .map(|trial| (trial, OWN_WORK.as_slice()))
        .into_iter()
        .chain([("answers", &OWN_WORK[2..])])
    {
        for name in own {
            assert_eq!(
                results[&((*name).to_owned(), trial.to_owned())],
                0,
                "{name} in trial {trial}\n{table}"
            );
        }
    }
    let landlock = results[&("Landlock".to_owned(), "version".to_owned())];
    let with_daemons = if daemons_know_names() { POSSIBLE_WITH_DAEMONS.as_slice() } else { &[] };
    let gained: Vec<_> = results
        .iter()
        .filter(|((name, trial), result)| {
            let (name, trial) = (name.as_str(), trial.as_str());
            **result == 0
                && ["both", "answers", "plugins"].contains(&trial)
                && !OWN_WORK.contains(&name)
                && !ALSO_POSSIBLE.iter().chain(with_daemons).any(|possible| *possible == (name, trial))
                && landlock >= needs_landlock(name)
        })
        .collect();
    assert!(gained.is_empty(), "gained: {gained:?}\n{table}");
    // Without a sandbox the same attempts do succeed, so that the table says something.
    for name in [
        "read a file of the user's",
        "run a shell",
        "make a user namespace",
        "connect to another port",
        "fork",
    ] {
        assert_eq!(results[&(name.to_owned(), "none".to_owned())], 0, "{name}\n{table}");
    }
}

fn each_setting_of_the_sandbox_serves_an_honest_worker(shared: &Shared) {
    for sandbox in ["strict", "plugins", "off"] {
        let site = Site::with(shared.realm(), &Settings { sandbox, ..Default::default() });
        site.ticket(shared.realm());
        let target = shared.nfs();
        // The first has a new ticket, the second finds it in the cache.
        site.ask(target).context();
        site.wait_until_idle();
        site.ask(target).context();
    }
}

fn a_worker_killed_by_its_sandbox_is_told_from_one_that_crashed(shared: &Shared) {
    let worker = env!("CARGO_BIN_EXE_lgss-hostile-worker");
    let site = Site::with(shared.realm(), &Settings { worker, ..Default::default() });
    site.ticket(shared.realm());
    let host = format!("h{}.test", site.uid());
    let _listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&host).unwrap()).unwrap();
    assert_eq!(site.ask(&Target::nfs(&format!("forbidden@{host}"), 1)).errno(), Errno::EIO);
    site.log.wait_for_words(&["EIO", "S13", "sandbox", "worker_sandbox"]);
}
