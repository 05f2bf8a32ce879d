//! The worker's sandbox: what a worker that was taken over can still do, by each half and both; and that honest ones work in
//! each of its settings.

pub(crate) mod expected;

use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::stretched;
use expected::{A_32_BIT_CALL, TRIALS, fits, listed, row};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

crate::trials![
    a_worker_that_was_taken_over_can_do_its_own_work_only,
    each_setting_of_the_sandbox_serves_an_honest_worker,
    a_worker_killed_by_its_sandbox_is_told_from_one_that_crashed,
];

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
    make_files(&site);
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

/// Files that the worker must not reach: the user's own, and another's.
fn make_files(site: &Site) {
    let ssh = site.path("user").join(".ssh");
    fs::create_dir(&ssh).unwrap();
    chown(&ssh, Some(site.uid()), Some(site.uid())).unwrap();
    let files = [
        (site.path("user").join("secret"), site.uid()),
        (ssh.join("id"), site.uid()),
        (site.path("another"), site.machine_uid()),
    ];
    for (path, owner) in files {
        fs::write(&path, "a private key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
    }
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
    let text = fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(START).expect("where the table begins");
    let (written, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("LGSS_WRITE_PAGES").is_some() {
        fs::write(FILE, format!("{before}{START}{table}{END}{after}")).unwrap();
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

/// Cells that are not what tests/upcall/sandbox/expected.rs says.
fn wrong_cells(names: &[String], results: &Results) -> Vec<String> {
    let result = |name: &str, trial: &str| results[&(name.to_owned(), trial.to_owned())];
    let landlock = result("Landlock", "version");
    let mut wrong = Vec::new();
    for name in names {
        let without = result(name, TRIALS[0]);
        for (trial, cell) in TRIALS.iter().zip(row(name)) {
            let found = result(name, trial);
            if !fits(cell, found, without, landlock) {
                wrong.push(format!("{name}, {trial}: {}, not {cell:?}", word(found)));
            }
        }
    }
    wrong
}

fn a_worker_that_was_taken_over_can_do_its_own_work_only(shared: &Shared) {
    let (names, results) = attempts(shared);
    let table = table(&names, &results);
    let unfit: Vec<_> = results.iter().filter(|(_, result)| **result == 255).collect();
    assert!(unfit.is_empty(), "the test itself failed: {unfit:?}\n{table}");
    check_document(&table, &names);
    assert_eq!(names.len(), listed(), "a listed attempt was not made:\n{table}");
    let wrong = wrong_cells(&names, &results);
    assert!(wrong.is_empty(), "{wrong:#?}\n{table}");
    // A filter that looks at numbers only would take a 32-bit call for another one.
    let of_32_bits = |trial: &str| results[&(A_32_BIT_CALL.to_owned(), trial.to_owned())];
    if of_32_bits("none") == 0 {
        for trial in &TRIALS[2..] {
            assert_eq!(of_32_bits(trial), -libc::SIGSYS, "{trial}\n{table}");
        }
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
