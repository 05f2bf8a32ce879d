//! The upcall inherits nothing, neither from the requester's settings nor from how the kernel starts it.

use crate::support::outcome::Outcome;
use crate::support::probe::{Finding, Probe, Step, as_user};
use crate::support::process::{Process, command};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use crate::support::waiting::Waiting;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

crate::trials![
    the_requesters_environment_has_no_effect,
    the_worker_has_an_environment_of_one_variable,
    monitor_and_worker_have_a_umask_a_directory_and_limits_of_their_own,
    the_worker_has_the_descriptors_of_its_contract_only,
];

/// Variables of the requester; each leads a program that heeds it to another place.
fn hostile_environment(site: &Site) -> Vec<(&'static str, String)> {
    let own = |name: &str| site.path("user").join(name).display().to_string();
    fs::write(
        own("krb5.conf"),
        format!("[libdefaults]\n default_realm = EVIL.TEST\n default_ccache_name = {}\n", site.cache("none")),
    )
    .unwrap();
    fs::write(own("evil.so"), "no library\n").unwrap();
    fs::write(own("hosts"), "192.0.2.66 evil\n").unwrap();
    vec![
        ("KRB5CCNAME", site.cache("none")),
        ("KRB5_CONFIG", own("krb5.conf")),
        ("KRB5_KTNAME", format!("FILE:{}", own("none.keytab"))),
        ("KRB5_CLIENT_KTNAME", format!("FILE:{}", own("none.keytab"))),
        ("KRB5RCACHENAME", format!("dfl:{}", own("rcache"))),
        ("KRB5_TRACE", own("trace")),
        ("GSS_MECH_CONFIG", own("krb5.conf")),
        ("LD_PRELOAD", own("evil.so")),
        ("LD_LIBRARY_PATH", own("")),
        ("LD_DEBUG", "all".to_owned()),
        ("LD_DEBUG_OUTPUT", own("debug")),
        ("HOSTALIASES", own("hosts")),
        ("RES_OPTIONS", "ndots:15 attempts:5".to_owned()),
        ("LOCALDOMAIN", "evil.test".to_owned()),
        ("GCONV_PATH", own("")),
        ("MALLOC_PERTURB_", "85".to_owned()),
        ("TMPDIR", own("")),
        ("HOME", own("")),
        ("PATH", own("")),
    ]
}

fn the_requesters_environment_has_no_effect(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    let mut steps = as_user(site.uid());
    steps.extend([
        Step::Pause,
        Step::Request(site.request(shared.nfs())),
        Step::Settle { within_ms: 10_000 },
    ]);
    let environment = hostile_environment(&site);
    // Set for the probe only, because the loader of the programs that start it would heed it too.
    let mut program = command("env");
    program.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
    program.arg(env!("CARGO_BIN_EXE_lgss-probe")).stderr(Stdio::null());
    let mut requester = Probe::start_with(program, &steps);
    requester.until_pause();
    let seen = fs::read(format!("/proc/{}/environ", requester.pid())).unwrap();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    for (name, value) in environment {
        assert!(seen.contains(&format!("{name}={value}\0")), "the requester lacks {name}");
    }
    requester.go_on();
    let findings = requester.rest();
    let [Finding::Done, asked @ ..] = findings.as_slice() else { panic!("{findings:?}") };
    call_null_with(&Outcome::of(asked).context(), shared.nfs());
    site.log.wait_for_words(&["established", &site.default_cache().display().to_string()]);
    site.wait_until_idle();
    let left = names(&site.path("user"), requester.pid());
    assert_eq!(left, ["evil.so", "hosts", "krb5.conf"], "somebody heeded the environment");
}

/// The files in a directory, without those that the loader of process `but` has made.
fn names(directory: &Path, but: Pid) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_str().unwrap().to_owned());
    let mut names: Vec<_> = names.filter(|name| *name != format!("debug.{but}")).collect();
    names.sort();
    names
}

fn proc_file(process: &Process, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", process.pid)).unwrap()
}

/// The words after a name, in its line of a /proc file.
fn field(text: &str, name: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).split_whitespace().map(str::to_owned).collect()
}

fn the_worker_has_an_environment_of_one_variable(shared: &Shared) {
    let waiting = Waiting::new(shared);
    let expected = format!("KRB5_CONFIG={}/krb5.conf\0", waiting.site.path("").display());
    assert_eq!(proc_file(&waiting.worker, "environ"), expected);
}

fn monitor_and_worker_have_a_umask_a_directory_and_limits_of_their_own(shared: &Shared) {
    let waiting = Waiting::new(shared);
    for process in waiting.processes() {
        let status = proc_file(&process, "status");
        assert_eq!(field(&status, "Umask:"), ["0077"], "{process:?}");
        assert_eq!(process.cwd, Path::new("/"), "{process:?}");
        assert_eq!(field(&status, "SigBlk:"), ["0000000000000000"], "{process:?}");
        let limits = proc_file(&process, "limits");
        assert_eq!(field(&limits, "Max core file size"), ["0", "0", "bytes"], "{process:?}");
    }
    let limits = proc_file(&waiting.worker, "limits");
    for (name, limit) in [("Max open files", "1024"), ("Max locked memory", "0"), ("Max cpu time", "60")] {
        assert_eq!(field(&limits, name)[..2], [limit; 2], "{name}");
    }
}

/// Those that are open, with what each leads to.
fn descriptors(process: &Process) -> BTreeMap<i32, PathBuf> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap();
    let numbered = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_str()?.parse().ok()?, fs::read_link(&path).ok()?))
    });
    numbered.collect()
}

/// Descriptors 0 to 2 as the kernel opens them, the monitor's pipes, the cache, and the connection, which the worker
/// has opened itself. The list of sources, 4, is closed once it has been read.
fn the_worker_has_the_descriptors_of_its_contract_only(shared: &Shared) {
    let waiting = Waiting::new(shared);
    // It is connected before it has read all that its first token needs.
    let (inherited, own) = wait_for("a worker that reads no file", Duration::from_secs(10), || {
        let (inherited, own): (Vec<_>, Vec<_>) =
            descriptors(&waiting.worker).into_iter().partition(|(number, _)| matches!(number, 0..=4 | 6));
        (own.len() == 1).then_some((inherited, own))
    });
    let target = |number| inherited.iter().find(|(n, _)| *n == number).map(|(_, path)| path.as_path());
    for pipe in [3, 4] {
        assert!(target(pipe).unwrap().to_str().unwrap().starts_with("pipe:["), "{inherited:?}");
    }
    assert_eq!(target(6), Some(waiting.site.default_cache().as_path()), "{inherited:?}");
    let standard: Vec<_> = (0..=2).filter_map(target).collect();
    assert!(standard.iter().all(|path| *path == Path::new("/dev/null")), "{standard:?}");
    let connection = tcp_socket_to(&waiting.worker, waiting.server.port());
    let own: Vec<_> = own.into_iter().map(|(_, path)| path.display().to_string()).collect();
    assert_eq!(own, [format!("socket:[{connection}]")], "other descriptors");
}

/// Inode of a process's connection to a port of this machine, from /proc/PID/net/tcp.
fn tcp_socket_to(process: &Process, port: u16) -> u64 {
    let remote = format!("0100007F:{port:04X}");
    let table = proc_file(process, "net/tcp");
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[2] == remote).expect("a connection to the server");
    row[9].parse().unwrap()
}
