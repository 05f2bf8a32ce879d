//! Why a hook has no result. Only the machine's log shows it (rule S15).
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::WaitStatus;

use crate::identity::system_user::SystemUserError;
use crate::text::{SHOWN_LIMIT, cut, escaped, shell_word};

/// Why a file is not executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookRefusal {
    /// There is no such file, or no such directory on the way.
    #[error("{} does not exist", shell_word(.0))]
    Missing(PathBuf),
    /// Somebody else owns it or a directory on the way.
    #[error("{path} belongs to uid {uid}, not to root", path = shell_word(.0), uid = .1)]
    Owner(PathBuf, u32),
    /// Its mode, or that of a directory on the way, allows more than 0755.
    #[error("{path} has the mode {mode:04o}: at most 0755 is allowed", path = shell_word(.0), mode = .1)]
    Mode(PathBuf, u32),
    /// Something on the way is no directory.
    #[error("{} is not a directory", shell_word(.0))]
    NotDirectory(PathBuf),
    /// Not a regular file.
    #[error("{} is not a regular file", shell_word(.0))]
    NotRegular(PathBuf),
    /// Nobody may execute it.
    #[error("{} is not executable", shell_word(.0))]
    NotExecutable(PathBuf),
    /// Too many links on the way.
    #[error("{}: too many links", shell_word(.0))]
    Links(PathBuf),
    /// It cannot be looked at.
    #[error("{}: {error}", shell_word(.0), error = .1.desc())]
    Open(PathBuf, Errno),
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookFailure {
    /// It may not be executed.
    #[error("S14: {0}")]
    Refused(#[from] HookRefusal),
    /// There is no account for it.
    #[error("{0}")]
    Account(#[from] SystemUserError),
    /// It could not be isolated.
    #[error("S14: it cannot be isolated: {0}: {error}", error = .1.desc())]
    Isolation(IsolationStep, Errno),
    /// The kernel does not execute it.
    #[error("it cannot be executed: {error}{hint}", error = .0.desc(), hint = exec_hint(*.0))]
    Exec(Errno),
    /// No result in time.
    #[error("S14: no result within {} ms", .0.as_millis())]
    Slow(Duration),
    /// Too much output.
    #[error("S14: more than {0} bytes of output")]
    Loud(usize),
    /// It ended with an error.
    #[error("it {}{}", in_words(.0), complaint(.1))]
    Ended(WaitStatus, String),
    /// What it wrote is not the JSON that was expected.
    #[error("its output is not the JSON that is expected: line {0}, column {1}")]
    Malformed(usize, usize),
}

impl HookFailure {
    /// Without the hook's own words, where those might hold what is a user's.
    pub(crate) fn without_complaint(self) -> Self {
        match self {
            Self::Ended(status, _) => Self::Ended(status, String::new()),
            other => other,
        }
    }
}

/// A step of isolation that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsolationStep {
    /// Its standard input, output and error.
    Streams,
    /// A session keyring of its own.
    Keyring,
    /// Limits of memory, time, files and processes.
    Limits,
    /// Namespaces of its own.
    Namespaces,
    /// A view of the system in which nothing can be changed.
    View,
    /// The drop of rights.
    Drop,
    /// Its end with its caller.
    Caller,
    /// The filter of system calls.
    Filter,
    /// Closing everything else.
    Descriptors,
    /// The kernel's execution of the file.
    Exec,
}

impl fmt::Display for IsolationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Streams => "standard descriptors",
            Self::Keyring => "session keyring",
            Self::Limits => "limits",
            Self::Namespaces => "namespaces",
            Self::View => "read-only view, which needs Linux 5.12",
            Self::Drop => "drop of rights",
            Self::Caller => "caller",
            Self::Filter => "filter of system calls",
            Self::Descriptors => "descriptors",
            Self::Exec => "exec",
        })
    }
}

fn exec_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES => " (its user needs the right to execute it, and for a script to read it)",
        Errno::ENOENT => " (the interpreter of a script, or a dynamic loader, is missing)",
        Errno::ENOEXEC => " (no program of this machine; a script begins with #!)",
        _ => "",
    }
}

fn in_words(status: &WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("ended with exit status {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("was ended by {}", signal.as_str()),
        _ => "did not end".to_owned(),
    }
}

fn complaint(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map_or(String::new(), |line| format!(": {}", cut(&escaped(line), SHOWN_LIMIT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    #[test]
    fn what_a_hook_says_of_its_failure_is_one_short_line() {
        let said = format!("\n \u{1b}[0mno\tserver {}\nsecond", "x".repeat(2000));
        let told = HookFailure::Ended(WaitStatus::Exited(Pid::from_raw(7), 3), said).to_string();
        assert!(told.starts_with("it ended with exit status 3: \\u{1b}[0mno\\tserver xxx"), "{told}");
        assert!(told.len() < 600 && !told.contains("second"), "{told}");
    }
}
