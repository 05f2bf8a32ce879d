//! Runs a site's program that answers with one line (rule S14). The worker, which has no rights, runs it with an argument
//! array, an empty environment, and limits of time and output.
//!
//! Invariant: on return the program has been reaped, and all of its process group killed. Any other process that it started
//! ends with the worker's process-id namespace.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::sys::errno::errno_of;
use crate::sys::exec::close_on_exec_from;
use crate::sys::files::{Untrusted, trusted_file};
use crate::sys::process::{Process, readable};

/// Longest time of one run.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Longest output, in bytes.
const OUTPUT_LIMIT: usize = 4096;
/// Standard input, output and error.
const STANDARD_DESCRIPTORS: i32 = 3;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// Running it is not allowed.
    #[error("S14: {0}")]
    Untrusted(#[from] Untrusted),
    /// It cannot be run, or its output cannot be read.
    #[error("{0}: {error}", error = .1.desc())]
    Run(&'static str, Errno),
    /// No answer in time.
    #[error("S14: no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    /// Too much output.
    #[error("S14: more than {OUTPUT_LIMIT} bytes of output")]
    Loud,
    /// It ended with an error.
    #[error("it ended with {0}")]
    Failed(ExitStatus),
    /// No line, or one that is not UTF-8.
    #[error("it wrote no line of text")]
    NoLine,
}

/// Runs the program until it ends. Returns its first line, trimmed.
pub(super) fn first_line(program: &Path, arguments: &[String], by: Instant) -> Result<String, ProgramError> {
    let program = trusted_file(program)?;
    let begun = Instant::now();
    let deadline = by.min(begun + TIME_LIMIT);
    // Our descriptors are credentials and the monitor's pipes.
    close_on_exec_from(STANDARD_DESCRIPTORS).map_err(|errno| ProgramError::Run("descriptors", errno))?;
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let child = started.map_err(|error| ProgramError::Run("it cannot be run", errno_of(&error)))?;
    let mut running = RunningProgram { child, reaped: false };
    let output = running.output(deadline)?.ok_or_else(|| ProgramError::Slow(deadline - begun))?;
    let status = running.finish();
    if !status.success() {
        return Err(ProgramError::Failed(status));
    }
    let text = std::str::from_utf8(&output).map_err(|_| ProgramError::NoLine)?;
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
    line.map(str::to_owned).ok_or(ProgramError::NoLine)
}

/// What we wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ProgramEvent {
    Ended,
    Output,
}

/// A child that leads its process group. Its id is not reused until it is reaped.
struct RunningProgram {
    child: Child,
    reaped: bool,
}

impl RunningProgram {
    /// Its whole output once it has ended, even if other processes still have that open. `None` if the deadline came first.
    fn output(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>, ProgramError> {
        let failed = |errno| ProgramError::Run("its output", errno);
        let process = Process::open(pid(&self.child)).map_err(failed)?;
        let mut stdout = self.child.stdout.take().ok_or(failed(Errno::EBADF))?;
        fcntl(stdout.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
        let (mut output, mut open) = (Vec::new(), true);
        loop {
            let both = [(ProgramEvent::Ended, process.as_fd()), (ProgramEvent::Output, stdout.as_fd())];
            let watched = if open { both.as_slice() } else { both.split_at(1).0 };
            let ready = readable(watched, deadline).map_err(failed)?;
            if ready.is_empty() {
                return Ok(None);
            }
            // Checked before the output is read, so that everything it wrote before its end is read.
            let ended = ready.contains(&ProgramEvent::Ended);
            open = open && drain(&mut stdout, &mut output)?;
            if ended {
                return Ok(Some(output));
            }
        }
    }

    /// Kills the program and the rest of its group. Returns how the program ended.
    fn finish(&mut self) -> ExitStatus {
        if !std::mem::replace(&mut self.reaped, true) {
            let _ = killpg(pid(&self.child), Signal::SIGKILL);
        }
        self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(Signal::SIGKILL as i32))
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Reads what is available. Returns whether more may come.
fn drain(stdout: &mut ChildStdout, output: &mut Vec<u8>) -> Result<bool, ProgramError> {
    let mut buffer = [0; 1024];
    loop {
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => output.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ProgramError::Run("its output", errno_of(&error))),
        }
        if output.len() > OUTPUT_LIMIT {
            return Err(ProgramError::Loud);
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

#[cfg(test)]
pub(super) mod tests;
