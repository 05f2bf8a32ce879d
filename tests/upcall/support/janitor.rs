//! The outer process of a test program: it runs the tests in a child and removes what they leave, however they end.

use super::process::command;
use super::scratch::reap_stale;
use nix::sys::signal::{SigSet, Signal};
use std::process::Child;

/// Set for the inner process.
const INNER: &str = "LGSS_TEST_INNER";

/// Runs `tests`, which ends the process, in a child of this program, and then cleans up.
pub(crate) fn main(tests: fn() -> !) {
    if std::env::var_os(INNER).is_none() {
        std::process::exit(run_as_janitor());
    }
    SigSet::all().thread_unblock().unwrap();
    tests()
}

fn run_as_janitor() -> i32 {
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]
        .into_iter()
        .for_each(|s| signals.add(s));
    signals.thread_block().unwrap();
    reap_stale();
    let mut inner = command(std::env::current_exe().unwrap());
    inner.args(std::env::args_os().skip(1)).env(INNER, "1");
    let code = wait(inner.spawn().unwrap(), &signals);
    reap_stale();
    code
}

fn wait(mut inner: Child, signals: &SigSet) -> i32 {
    loop {
        if let Some(status) = inner.try_wait().unwrap() {
            return status.code().unwrap_or(101);
        }
        if signals.wait().unwrap() != Signal::SIGCHLD {
            inner.kill().unwrap();
        }
    }
}
