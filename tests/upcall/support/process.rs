//! Processes that tests start, and processes that they look for.

use super::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a daemon may outlive what started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Ends with the test: the kernel kills it with the test's thread.
    TestEnds,
    /// Ends with the run: it serves many tests, and the janitor kills it if its guard does not.
    RunEnds,
}

/// A command that dies with the thread that starts it.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program.as_ref());
    command.stdin(Stdio::null());
    command
}

/// The same as another user, without supplementary groups.
pub(crate) fn command_as(uid: u32, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={uid}")).arg(format!("--regid={uid}"));
    command.args(["--clear-groups", "--pdeathsig", "KILL", "--"]).arg(program.as_ref());
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end; returns its output.
///
/// # Panics
/// If it fails, with the command and its output.
#[track_caller]
pub(crate) fn succeed(command: &mut Command, input: &str) -> String {
    run(command, input).unwrap_or_else(|text| panic!("{command:?} failed: {text}"))
}

/// Runs it to its end; returns its output, as an error if it failed.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    // A program that does not read its input reports why below.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{}: {text}", output.status)) }
}

/// A background process, killed and reaped on drop.
#[derive(Debug)]
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts `command` in `directory`, with its output in `log` there.
    pub(crate) fn start(command: Command, directory: &Path, log: &str) -> Self {
        Self::start_given(command, Stdio::null(), directory, log)
    }

    /// The same with `given` as its standard input.
    pub(crate) fn start_given(mut command: Command, given: Stdio, directory: &Path, log: &str) -> Self {
        let log = File::create(directory.join(log)).unwrap();
        command.current_dir(directory).stdin(given).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) exe: PathBuf,
    pub(crate) cwd: PathBuf,
    pub(crate) uid: Option<u32>,
}

impl Process {
    /// All processes but zombies.
    pub(crate) fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid| Self::read(Pid::from_raw(pid))).collect()
    }

    fn read(pid: Pid) -> Option<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let status = fs::read_to_string(proc.join("status")).ok()?;
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start).unwrap_or_default()
        };
        if field("State:").starts_with(['Z', 'X']) {
            return None;
        }
        let uid = field("Uid:").split_whitespace().next().and_then(|uid| uid.parse().ok());
        let link = |name| fs::read_link(proc.join(name)).unwrap_or_default();
        Some(Self { pid, exe: link("exe"), cwd: link("cwd"), uid })
    }

    /// All processes that run a program below `directory`.
    pub(crate) fn running_from(directory: &Path) -> Vec<Self> {
        Self::all().into_iter().filter(|process| process.exe.starts_with(directory)).collect()
    }
}

/// Kills all processes that `is_ours` selects, and waits until they are gone.
pub(crate) fn kill_all(is_ours: impl Fn(&Process) -> bool) {
    let me = Pid::this();
    let ours = || Process::all().into_iter().filter(|process| process.pid != me && is_ours(process));
    wait_for("processes to die", Duration::from_secs(10), || {
        let left: Vec<_> = ours().collect();
        for process in &left {
            let _ = kill(process.pid, Signal::SIGKILL);
        }
        left.is_empty().then_some(())
    });
}
