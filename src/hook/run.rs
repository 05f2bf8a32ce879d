//! Runs a verified hook and takes its result.
//!
//! Invariant: on return the hook and all that it has started have ended, or been killed: they share a process-id namespace.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, getpid, pipe2};
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use super::failure::{HookFailure, IsolationStep};
use super::isolation::{HookEnds, Isolation, reported};
use super::verify::verified;
use crate::config::{HookName, Hooks};
use crate::identity::system_user::{self, SystemUser};
use crate::sys::files::sealed_memory;
use crate::sys::fork::ForkResult;
use crate::sys::own_view::Reach;
use crate::sys::process::{Process, readable};

/// Most processes of the hooks' own user, of all runs together.
const PROCESSES: u64 = 256;
/// Longest wait for the end of a hook that was killed.
const HOOK_KILL_LIMIT: Duration = Duration::from_secs(2);
/// Most that is kept of a hook's standard error.
const COMPLAINT: usize = 4096;

/// Whose rights a hook has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunsAs {
    /// The hooks' own user's.
    HooksUser,
    /// Those of the person for whom it runs.
    Requester(SystemUser),
}

/// One run of a hook.
pub(crate) struct HookCall<'a, I> {
    /// Which one.
    pub(crate) name: &'a HookName,
    /// What it reads.
    pub(crate) input: &'a I,
    /// Whose rights it has.
    pub(crate) runs_as: RunsAs,
    /// When its result comes too late; the settings may allow less time.
    pub(crate) by: Instant,
    /// Makes its process, the first of a process-id namespace.
    pub(crate) fork: &'a dyn Fn() -> Result<ForkResult, Errno>,
}

/// What a hook has written.
pub(crate) struct HookOutput(Zeroizing<Vec<u8>>);

impl HookOutput {
    /// The result; `serde_json` limits its depth.
    ///
    /// # Errors
    /// [`HookFailure::Malformed`].
    pub(crate) fn result<'a, T: Deserialize<'a>>(&'a self) -> Result<T, HookFailure> {
        serde_json::from_slice(&self.0).map_err(|error| HookFailure::Malformed(error.line(), error.column()))
    }
}

/// Runs a hook. The calling process is root and has one thread; its real uid should be 0 as well, since whoever can stop it can
/// keep a hook alive beyond its time.
///
/// # Errors
/// [`HookFailure`].
pub(crate) fn run<I: Serialize>(call: &HookCall<'_, I>, hooks: &Hooks) -> Result<HookOutput, HookFailure> {
    let program = verified(&hooks.directory, call.name)?;
    let streams = |errno| HookFailure::Isolation(IsolationStep::Streams, errno);
    let begun = Instant::now();
    let by = call.by.min(begun + hooks.timeout.0);
    let (account, processes) = match call.runs_as {
        RunsAs::HooksUser => (system_user::find(&hooks.user)?, Some(PROCESSES)),
        RunsAs::Requester(account) => (account, None),
    };
    let input = serde_json::to_vec(call.input).map_err(|_| streams(Errno::EINVAL))?;
    let input = sealed_memory(&input).map_err(streams)?;
    let (ours, theirs) = pipes(input).map_err(streams)?;
    let reach = if hooks.network.contains(call.name) { Reach::Network } else { Reach::Itself };
    let isolation = Isolation {
        program,
        account,
        processes,
        reach,
        memory: u16::try_from(hooks.memory).unwrap_or(u16::MAX),
        caller: Process::open(getpid()).map_err(streams)?,
    };
    match (call.fork)().map_err(|errno| HookFailure::Isolation(IsolationStep::Namespaces, errno))? {
        ForkResult::Child => isolation.become_hook(theirs),
        ForkResult::Parent { child } => {
            drop((isolation, theirs));
            let bounds = RunBounds {
                begun,
                by,
                output: usize::try_from(hooks.output).unwrap_or(usize::MAX).saturating_mul(1024),
            };
            RunningHook::of(child).map_err(streams)?.collect(ours, &bounds)
        }
    }
}

/// Limits of one run.
struct RunBounds {
    begun: Instant,
    by: Instant,
    /// Most bytes of each stream.
    output: usize,
}

impl RunBounds {
    fn slow(&self) -> HookFailure {
        HookFailure::Slow(self.begun.elapsed())
    }
}

/// What we read of a hook.
struct OurEnds {
    output: File,
    complaint: File,
    obstacle: File,
}

fn pipes(input: OwnedFd) -> Result<(OurEnds, HookEnds), Errno> {
    let (output, output_end) = pipe2(OFlag::O_CLOEXEC)?;
    let (complaint, complaint_end) = pipe2(OFlag::O_CLOEXEC)?;
    let (obstacle, obstacle_end) = pipe2(OFlag::O_CLOEXEC)?;
    let ours = OurEnds { output: output.into(), complaint: complaint.into(), obstacle: obstacle.into() };
    let theirs = HookEnds { input, output: output_end, complaint: complaint_end, obstacle: obstacle_end };
    Ok((ours, theirs))
}

/// What we wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HookEvent {
    Output,
    Complaint,
}

/// A hook that runs. Killed and reaped on drop.
struct RunningHook(Process);

impl RunningHook {
    fn of(child: Pid) -> Result<Self, Errno> {
        Process::of_child(child).map(Self)
    }

    /// Reads until everybody has closed both streams, which is at the end of the namespace's first process at the latest.
    fn collect(self, mut ours: OurEnds, bounds: &RunBounds) -> Result<HookOutput, HookFailure> {
        let streams = |errno| HookFailure::Isolation(IsolationStep::Streams, errno);
        // With room for all of it, since a buffer that grows leaves copies behind.
        let mut output = Zeroizing::new(Vec::with_capacity(bounds.output.saturating_add(PART)));
        let (mut complaint, mut complained) = (Vec::new(), 0_usize);
        let mut open = vec![HookEvent::Output, HookEvent::Complaint];
        while !open.is_empty() {
            let ready = {
                let watched = open.iter().map(|event| match event {
                    HookEvent::Output => (*event, ours.output.as_fd()),
                    HookEvent::Complaint => (*event, ours.complaint.as_fd()),
                });
                readable(&watched.collect::<Vec<_>>(), bounds.by).map_err(streams)?
            };
            if ready.is_empty() {
                return Err(bounds.slow());
            }
            for event in ready {
                let mut part = Zeroizing::new([0; PART]);
                let stream = match event {
                    HookEvent::Output => &mut ours.output,
                    HookEvent::Complaint => &mut ours.complaint,
                };
                let read = stream.read(&mut part[..]).unwrap_or(0);
                let part = part.get(..read).unwrap_or_default();
                match event {
                    _ if part.is_empty() => open.retain(|other| *other != event),
                    HookEvent::Output => output.extend_from_slice(part),
                    HookEvent::Complaint => {
                        complained = complained.saturating_add(part.len());
                        let room = COMPLAINT.saturating_sub(complaint.len()).min(part.len());
                        complaint.extend_from_slice(part.get(..room).unwrap_or_default());
                    }
                }
                if output.len().max(complained) > bounds.output {
                    return Err(HookFailure::Loud(bounds.output));
                }
            }
        }
        let ended = self.end(bounds)?;
        let mut report = Vec::new();
        let _ = ours.obstacle.read_to_end(&mut report);
        match (reported(&report), ended) {
            (Some(obstacle), _) => Err(obstacle),
            (None, WaitStatus::Exited(_, 0)) => Ok(HookOutput(output)),
            (None, ended) => Err(HookFailure::Ended(ended, String::from_utf8_lossy(&complaint).into_owned())),
        }
    }

    /// How it ended, when it has.
    fn end(self, bounds: &RunBounds) -> Result<WaitStatus, HookFailure> {
        self.0.wait_for_end(bounds.by.saturating_duration_since(Instant::now()));
        self.0.ended().ok_or_else(|| bounds.slow())
    }
}

/// Most that is read at once.
const PART: usize = 4096;

impl Drop for RunningHook {
    fn drop(&mut self) {
        // Fails if it has ended by itself.
        let _ = self.0.kill();
        self.0.wait_for_end(HOOK_KILL_LIMIT);
        self.0.reap();
    }
}
