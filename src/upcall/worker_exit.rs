//! The end of a worker that has not reported.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::FrameError;
use crate::sys::process::Process;

/// How long a worker that has closed its pipes may take to end.
const END_LIMIT: Duration = Duration::from_secs(1);

/// The failure of a worker that has closed its pipes, with what ended it.
pub(super) fn failure(worker: &Process) -> Failure {
    let status = if worker.wait_for_end(END_LIMIT) { worker.ended() } else { None };
    Failure::new(Stage::Negotiate, Cause::WorkerFault, format_args!("worker: {}", in_words(status)))
}

fn in_words(status: Option<WaitStatus>) -> String {
    match status {
        Some(WaitStatus::Signaled(_, Signal::SIGSYS, _)) => {
            "S13: its sandbox has killed it for a system call that only foreign code makes; if that is a plugin's, see \
             worker_sandbox in lgss.toml(5)"
                .to_owned()
        }
        Some(WaitStatus::Signaled(_, signal, _)) => format!("killed by {signal}"),
        _ => FrameError::Closed.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    #[test]
    fn what_ended_a_worker_is_told() {
        let by = |signal| in_words(Some(WaitStatus::Signaled(Pid::from_raw(7), signal, false)));
        assert!(by(Signal::SIGSYS).contains("sandbox"));
        assert_eq!(by(Signal::SIGSEGV), "killed by SIGSEGV");
        assert_eq!(in_words(None), FrameError::Closed.to_string());
        assert_eq!(in_words(Some(WaitStatus::Exited(Pid::from_raw(7), 1))), FrameError::Closed.to_string());
    }
}
