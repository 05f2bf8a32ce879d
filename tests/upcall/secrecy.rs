//! The worker's secrets stay in the worker: its user can neither read it nor get a core of it.

use crate::support::probe::Finding;
use crate::support::process::{command_as, succeed};
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::spying::{cores, expect_closed, expect_no_core};
use crate::support::wait::stretched;
use crate::support::waiting::Waiting;
use lgss::private_to_lgss::ctx::user::{self, State};
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// SECCOMP_MODE_FILTER.
const SECCOMP_FILTER: u64 = 2;

crate::trials![
    the_user_of_a_worker_can_neither_trace_nor_read_it,
    nobody_sees_in_the_list_of_processes_what_was_asked_for,
    the_monitor_of_a_negotiation_has_no_right_left_but_to_end_it,
    signals_of_its_user_get_no_core_of_a_worker_and_its_death_fails_the_key_at_once,
    a_worker_that_crashes_leaves_no_core_and_fails_the_key_at_once,
];

fn the_user_of_a_worker_can_neither_trace_nor_read_it(shared: &Shared) {
    let waiting = Waiting::new(shared);
    expect_closed(&waiting.site, waiting.worker.pid);
}

fn nobody_sees_in_the_list_of_processes_what_was_asked_for(shared: &Shared) {
    let waiting = Waiting::new(shared);
    let site = &waiting.site;
    // Other users, and the requester itself: a process of the same user in a container counts as another.
    for uid in [site.machine_uid(), site.uid()] {
        for process in waiting.processes() {
            let read = |file: &str| {
                let script = format!("cat /proc/{}/{file} | tr '\\0' ' '", process.pid);
                succeed(command_as(uid, "sh").args(["-c", &script]), "")
            };
            let (words, name) = (read("cmdline"), read("comm"));
            assert_eq!(words.split_whitespace().count(), 1, "{words:?}");
            assert!(
                ["lgss_keyring", "lgss_negotiate"].iter().any(|known| words.trim_end().ends_with(known)),
                "{words:?}"
            );
            assert!(name.trim().len() <= 15 && !name.contains('@'), "{name:?}");
            let environ =
                command_as(uid, "cat").arg(format!("/proc/{}/environ", process.pid)).output().unwrap();
            assert!(!environ.status.success() && environ.stdout.is_empty(), "{environ:?}");
        }
    }
}

fn the_monitor_of_a_negotiation_has_no_right_left_but_to_end_it(shared: &Shared) {
    let mut waiting = Waiting::new(shared);
    for process in waiting.processes() {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let own = if process.exe.ends_with("lgss_keyring") { 1 << 5 } else { 0 };
        for (set, left) in
            [("CapPrm:", own), ("CapEff:", own), ("CapInh:", 0), ("CapBnd:", 0), ("CapAmb:", 0)]
        {
            assert_eq!(field(set), left, "{set} {status}");
        }
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (1, SECCOMP_FILTER), "{status}");
    }
    // The remaining capability is enough to end a worker of another user and to fail the key.
    waiting.requester.go_on();
    let findings = waiting.requester.rest();
    assert!(matches!(findings.last(), Some(Finding::Settled { payload: Some(_), .. })), "{findings:?}");
    waiting.site.wait_until_idle();
}

/// The first process of a process-id namespace gets signals from outside only if it has a handler for them, except for
/// SIGKILL. The Rust runtime has a handler for SIGSEGV, which removes itself.
fn signals_of_its_user_get_no_core_of_a_worker_and_its_death_fails_the_key_at_once(shared: &Shared) {
    let mut waiting = Waiting::new(shared);
    let send = |signal: &str| {
        let script = format!("kill -{signal} {}", waiting.worker.pid);
        succeed(command_as(waiting.site.uid(), "sh").args(["-c", &script]), "");
    };
    for signal in ["QUIT", "ABRT", "SEGV", "SEGV", "XCPU", "TERM"] {
        send(signal);
    }
    let still = waiting.site.wait_for_process("lgss_negotiate");
    assert_eq!(still.pid, waiting.worker.pid, "a signal has ended it");
    let start = Instant::now();
    send("KILL");
    waiting.requester.go_on();
    let findings = waiting.requester.rest();
    assert!(start.elapsed() < stretched(Duration::from_secs(3)), "took {:?}", start.elapsed());
    let Some(Finding::Settled { payload: Some(payload), .. }) = findings.last() else {
        panic!("{findings:?}")
    };
    let State::Failed(no_context) = user::parse(payload).unwrap() else { panic!("{payload:?}") };
    assert_eq!(no_context.errno.code(), Errno::EIO as i32);
    waiting.site.log.wait_for_words(&["EIO", Cause::WorkerFault.remedy()]);
    waiting.site.wait_until_idle();
    assert_eq!(cores(&waiting.site), [""; 0]);
}

/// It faults in a working directory that belongs to the user.
fn a_worker_that_crashes_leaves_no_core_and_fails_the_key_at_once(shared: &Shared) {
    let worker = env!("CARGO_BIN_EXE_lgss-hostile-worker");
    let site = Site::with(shared.realm(), &Settings { worker, deadline: "60s", ..Default::default() });
    site.ticket(shared.realm());
    let host = format!("h{}.test", site.uid());
    let _listening = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&host).unwrap()).unwrap();
    let start = Instant::now();
    assert_eq!(site.ask(&Target::nfs(&format!("crash@{host}"), 1)).errno(), Errno::EIO);
    assert!(start.elapsed() < stretched(Duration::from_secs(3)), "took {:?}", start.elapsed());
    site.log.wait_for_words(&["EIO", Cause::WorkerFault.remedy()]);
    site.wait_until_idle();
    assert!(site.path("user").join("crashes").exists(), "the worker was not where it could have left a core");
    expect_no_core(&site);
}
