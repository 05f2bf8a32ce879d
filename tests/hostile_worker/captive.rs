//! The same attempts without the sandbox, with each half of it, with all of it, and in its later stages: what each half is
//! worth. Each attempt is made by a process of its own, since some are its death.
//!
//! Stages differ where the filter does. `both` holds from before the first credential until the first token, and with a ticket
//! from the cache until the end, since another may have to be got. With a new ticket, `answers` follows the first token over a
//! connection of the worker's own, and `relayed` the first that goes through the monitor. No filter changes after that: the
//! report of the context is written under whichever was the last.

use super::Report;
use crate::attempts::{ATTEMPTS, OpenSockets, Targets};
use crate::calls::run;
use crate::{keys, rights};
use lgss::private_to_lgss::sandbox_trial::{SandboxTrial, confine};
use libc::c_long;
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getuid};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};

/// Exit status of an attempt that ended by a panic or could not be confined; no errno has this number.
const UNFIT: i32 = 255;
/// The same of a process that has the number of one of its targets.
const SAME_NUMBER: i32 = 254;

/// Makes every attempt in every trial, and reports `attempt|trial` with its errno; the number of SIGSYS, negative, for death. Before
/// them, the kernel's version of Landlock.
pub(crate) fn attack(request: &str, host: &str, report: &mut Report) {
    let list = source_list();
    let mut targets = targets(request, host);
    report.say_number("Landlock|version", landlock());
    for (name, attempt) in ATTEMPTS {
        for trial in SandboxTrial::ALL {
            let _ = fs::write(targets.home.join("removable"), "");
            targets.open = OpenSockets::new();
            let status = in_a_child(&targets, || {
                confine_or_end(trial, request, &list);
                attempt(&targets)
            });
            let _ = fs::remove_file(&targets.temporary);
            report.say_number(&format!("{name}|{}", trial.word()), status);
        }
    }
}

fn targets(request: &str, host: &str) -> Targets {
    let own = fs::read_link("/proc/self/exe").expect("our own name");
    let home = own.with_file_name("user");
    let secret = home.join("secret");
    let parsed: serde_json::Value = serde_json::from_str(request).expect("a request");
    let rpc = &parsed["target"]["rpc"];
    let port = rpc["channel"]["port"].as_u64().expect("a port") as u16 + 1;
    let (key, authority) = keys::under_negotiation(rpc["service"].as_str().expect("a service"));
    Targets {
        secret_name: name_of(&secret),
        secret,
        others: own.with_file_name("another"),
        home,
        // A name of this user's own: the file of another user could not be made again.
        temporary: PathBuf::from(format!("/tmp/lgss-captive-{}", getuid())),
        process: victim(),
        monitor: rights::monitor_pid(),
        key,
        authority: authority.unwrap_or(i32::MAX),
        port,
        abstract_name: host.to_owned(),
        open: OpenSockets::new(),
    }
}

fn name_of(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL")
}

/// An attempt whose process is not confined proves nothing.
fn confine_or_end(trial: SandboxTrial, request: &str, list: &[u8]) {
    if confine(trial, request, list).is_err() {
        lgss::private_to_lgss::end(UNFIT)
    }
}

/// Confines itself as an honest worker does, then does what none does.
pub(crate) fn make_a_call_that_is_death(request: &str) {
    confine(SandboxTrial::Both, request, &source_list()).expect("a sandbox");
    let _ = run(c"/bin/sh");
}

/// What the launcher has written of the sources.
fn source_list() -> Vec<u8> {
    // SAFETY: by the launcher's contract, descriptor 5 is the list, and it is ours.
    let mut file = unsafe { File::from_raw_fd(5) };
    let mut list = Vec::new();
    file.read_to_end(&mut list).expect("the list of sources");
    // Other descriptors keep their numbers.
    std::mem::forget(file);
    list
}

/// Its errno, 0 if it succeeded, and the number of the signal that ended it as a negative one.
fn in_a_child(targets: &Targets, attempt: impl Fn() -> Result<(), Errno>) -> i32 {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("a process") {
        // Its number is the namespace's, and theirs are the host's: it would mean itself.
        ForkResult::Child if [targets.monitor, targets.process].contains(&getpid()) => {
            lgss::private_to_lgss::end(SAME_NUMBER)
        }
        ForkResult::Child => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&attempt));
            lgss::private_to_lgss::end(
                outcome.map_or(UNFIT, |done| done.err().map_or(0, |errno| errno as i32)),
            )
        }
        ForkResult::Parent { child } => match waitpid(child, None).expect("its end") {
            WaitStatus::Exited(_, SAME_NUMBER) => in_a_child(targets, attempt),
            WaitStatus::Exited(_, status) => status,
            WaitStatus::Signaled(_, signal, _) => -(signal as i32),
            other => panic!("{other:?}"),
        },
    }
}

/// The test's process that waits for the key: it has the user's ids and may be traced by the user.
fn victim() -> Pid {
    let own = getuid().as_raw();
    let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.into_iter().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uid.and_then(|ids| ids.split_whitespace().next()?.parse().ok()) == Some(own)
            && File::open(format!("/proc/{pid}/mem")).is_ok()
    });
    Pid::from_raw(found.expect("a process of the user's"))
}

/// 0 without Landlock (landlock_create_ruleset(2)).
fn landlock() -> i32 {
    const VERSION: c_long = 1;
    // SAFETY: with this flag the call takes no attributes and returns a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0 as c_long, 0 as c_long, VERSION) };
    version.max(0) as i32
}
