//! Hooks for operators: checks of the site's that somebody runs by name.
//!
//! Called by `lgss hook run`, as root. Invariant: who asks learns a result or that there is none, and not why; the machine's log
//! has the reason.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use serde_json::Value;

use super::failure::HookFailure;
use super::fields::OperatorInput;
use super::lock::{HookLock, LockTimes};
use super::run::{HookCall, RunsAs, run};
use crate::config::{Config, HookName};
use crate::sys::files::private_directory;
use crate::sys::fork::fork_confined;
use crate::system_log::{LogSeverity, SystemLog};

/// Longest wait for the runs of others.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// What a run needs beyond the hook's own time.
const RUN_MARGIN: Duration = Duration::from_secs(5);

/// Why an operator gets no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoHookResult {
    /// Others are running hooks.
    #[error("another hook is running, or failed a moment ago; try again")]
    Busy,
    /// There is none, whatever the reason.
    #[error("the hook does not exist, may not be run, or failed; as root, lgss log has the reason")]
    Failed,
}

/// Runs a hook for an operator: waits for the machine-wide lock, then verifies and runs the file. `asked_by` is the uid of who
/// asks; only the log and the hook learn it. The calling process is root with one thread, as for [`run`].
///
/// # Errors
/// [`NoHookResult`]. `Failed` comes no sooner than the settings' delay, whether there is such a hook or not.
pub(crate) fn run_for_operator(
    asked_by: u32,
    name: &HookName,
    config: &Config,
) -> Result<Value, NoHookResult> {
    let log = SystemLog::open("lgss", config.log.socket.clone());
    let tell = |severity, what: std::fmt::Arguments<'_>| {
        log.write(severity, &format!("hook {name} asked for by uid {asked_by}: {what}"));
    };
    let hooks = &config.hooks;
    let begun = Instant::now();
    let times =
        LockTimes { wait_until: begun + LOCK_WAIT, run: hooks.timeout.0 + RUN_MARGIN, delay: hooks.delay.0 };
    let directory = private_directory(&config.run_dir);
    let lock = match directory.map(|directory| HookLock::take(std::os::fd::AsFd::as_fd(&directory), times)) {
        Ok(Ok(Some(lock))) => lock,
        Ok(Ok(None)) => {
            tell(LogSeverity::Warning, format_args!("others held the lock for {} s", LOCK_WAIT.as_secs()));
            return Err(NoHookResult::Busy);
        }
        Ok(Err(errno)) => {
            tell(LogSeverity::Error, format_args!("the lock: {}", errno.desc()));
            return Err(NoHookResult::Failed);
        }
        Err(error) => {
            tell(LogSeverity::Error, format_args!("S18: {error}"));
            return Err(NoHookResult::Failed);
        }
    };
    let begun = Instant::now();
    let input = OperatorInput { purpose: "operator", hook: name.as_str(), uid: asked_by };
    let call = HookCall {
        name,
        input: &input,
        runs_as: RunsAs::HooksUser,
        by: begun + hooks.timeout.0,
        fork: &fork_confined,
    };
    match run(&call, hooks).and_then(|output| output.result::<Value>()) {
        Ok(result) => {
            lock.succeeded();
            tell(LogSeverity::Info, format_args!("done in {} ms", begun.elapsed().as_millis()));
            Ok(result)
        }
        Err(failure) => {
            tell(severity(&failure), format_args!("{failure}"));
            lock.failed();
            Err(NoHookResult::Failed)
        }
    }
}

/// What only an administrator can mend matters more.
fn severity(failure: &HookFailure) -> LogSeverity {
    match failure {
        HookFailure::Account(_) | HookFailure::Isolation(..) => LogSeverity::Error,
        _ => LogSeverity::Warning,
    }
}
