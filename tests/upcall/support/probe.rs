//! The test's side of the probe: a requester that follows a plan.

use super::process::command;
pub(crate) use crate::plan::{Finding, Request, Step};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Special id of the session keyring.
pub(crate) const SESSION_RING: i32 = -3;

/// Steps that make the probe an ordinary user with a session keyring.
pub(crate) fn as_user(uid: u32) -> Vec<Step> {
    vec![Step::Ids { uid: [uid; 3], gid: [uid; 3] }, Step::JoinSession]
}

/// Runs a probe with these steps; returns one finding for each step.
///
/// # Panics
/// If a step could not be done.
#[track_caller]
pub(crate) fn probe(steps: &[Step]) -> Vec<Finding> {
    let mut probe = Probe::start(steps);
    let findings = probe.rest();
    if let Some(Finding::Broken { step, errno }) = findings.last() {
        panic!("the probe cannot do {step}: {}", nix::errno::Errno::from_raw(*errno));
    }
    findings
}

/// Makes the kernel forget the keyrings of a uid.
pub(crate) fn forget_keyrings(uid: u32) {
    let mut steps = vec![Step::Ids { uid: [uid; 3], gid: [uid; 3] }];
    steps.push(Step::ForgetKeyrings);
    Probe::start(&steps).rest();
}

/// A probe at work; killed and reaped on drop.
#[derive(Debug)]
pub(crate) struct Probe {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Probe {
    pub(crate) fn start(steps: &[Step]) -> Self {
        Self::start_with(command(env!("CARGO_BIN_EXE_lgss-probe")), steps)
    }

    /// Starts it with the environment of `command`.
    pub(crate) fn start_with(mut command: Command, steps: &[Step]) -> Self {
        command.arg(serde_json::to_string(steps).unwrap()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next finding; `None` once the probe has ended.
    pub(crate) fn next(&mut self) -> Option<Finding> {
        self.lines.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    /// All findings up to a pause.
    #[track_caller]
    pub(crate) fn until_pause(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        loop {
            match self.next().expect("the probe ended before its pause") {
                Finding::Paused => return findings,
                Finding::Broken { step, errno } => panic!("the probe cannot do {step}: errno {errno}"),
                finding => findings.push(finding),
            }
        }
    }

    pub(crate) fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub(crate) fn rest(&mut self) -> Vec<Finding> {
        std::iter::from_fn(|| self.next()).collect()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
