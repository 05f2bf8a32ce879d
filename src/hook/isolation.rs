//! The process that becomes a hook: the first of a process-id namespace, which gives up everything and then executes the file.
//!
//! Invariant: nothing of the site's is executed before the last step, and no step is left out.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::calls::refuse_calls;
use super::failure::{HookFailure, IsolationStep};
use crate::identity::system_user::SystemUser;
use crate::sys::exec::{Execution, NotExecuted};
use crate::sys::jail::{self, OomScore};
use crate::sys::keyctl;
use crate::sys::own_view::{self, Reach};
use crate::sys::process::{self, Process};

/// The steps by their numbers in a report.
const STEPS: [IsolationStep; 10] = [
    IsolationStep::Streams,
    IsolationStep::Keyring,
    IsolationStep::Limits,
    IsolationStep::Namespaces,
    IsolationStep::View,
    IsolationStep::Drop,
    IsolationStep::Caller,
    IsolationStep::Filter,
    IsolationStep::Descriptors,
    IsolationStep::Exec,
];

/// The descriptors of a hook's process.
pub(super) struct HookEnds {
    /// Its standard input.
    pub(super) input: OwnedFd,
    /// Its standard output.
    pub(super) output: OwnedFd,
    /// Its standard error.
    pub(super) complaint: OwnedFd,
    /// Where to report an obstacle; closed by exec.
    pub(super) obstacle: OwnedFd,
}

/// What a hook's process becomes.
pub(super) struct Isolation {
    /// The verified file.
    pub(super) program: OwnedFd,
    /// Whose rights it has.
    pub(super) account: SystemUser,
    /// Most processes of that user, if they are all hooks'.
    pub(super) processes: Option<u64>,
    /// What it reaches.
    pub(super) reach: Reach,
    /// Its address space in MiB.
    pub(super) memory: u16,
    /// Who waits for it.
    pub(super) caller: Process,
}

impl Isolation {
    /// Becomes the hook, or reports the obstacle and ends.
    pub(super) fn become_hook(self, ends: HookEnds) -> ! {
        let prepared = self.prepare(&ends);
        let HookEnds { obstacle, .. } = ends;
        if let Err((step, errno)) = prepared {
            report(obstacle, step, errno);
            process::end(1)
        }
        // Everybody can read the words of a process, and nobody is to learn the names of hooks.
        let argv = [c"hook"];
        let execution = Execution {
            program: self.program,
            name: "",
            argv: &argv,
            environment: &[],
            descriptors: Vec::new(),
        };
        execution.run_script([obstacle], |[told], _, obstacle| match obstacle {
            NotExecuted::Descriptors(errno) => report(told, IsolationStep::Descriptors, errno),
            NotExecuted::Exec(errno) => report(told, IsolationStep::Exec, errno),
        })
    }

    fn prepare(&self, ends: &HookEnds) -> Result<(), (IsolationStep, Errno)> {
        let failed = |step: IsolationStep| move |errno| (step, errno);
        process::reset_inherited();
        process::take_default_of_broken_pipes();
        let _ = setsid();
        dup2_stdin(&ends.input)
            .and_then(|()| dup2_stdout(&ends.output))
            .and_then(|()| dup2_stderr(&ends.complaint))
            .map_err(failed(IsolationStep::Streams))?;
        jail::set_oom_score(OomScore::Normal);
        // An authority over a key under construction comes with the caller's session.
        keyctl::join_anonymous_session()
            .and_then(|_| keyctl::divest_authority())
            .map_err(failed(IsolationStep::Keyring))?;
        jail::limit_resources(self.memory).map_err(failed(IsolationStep::Limits))?;
        if let Some(count) = self.processes {
            jail::limit_processes(count).map_err(failed(IsolationStep::Limits))?;
        }
        own_view::enter_own_namespaces(self.reach).map_err(failed(IsolationStep::Namespaces))?;
        own_view::make_read_only(self.reach).map_err(failed(IsolationStep::View))?;
        jail::drop_to(self.account.uid, self.account.gid).map_err(failed(IsolationStep::Drop))?;
        jail::die_with_parent().map_err(failed(IsolationStep::Caller))?;
        if self.caller.wait_for_end(Duration::ZERO) {
            return Err((IsolationStep::Caller, Errno::ESRCH));
        }
        refuse_calls(self.reach).map_err(failed(IsolationStep::Filter))
    }
}

fn report(told: OwnedFd, step: IsolationStep, errno: Errno) {
    let number = STEPS.iter().position(|known| *known == step).and_then(|at| u8::try_from(at).ok());
    let _ = File::from(told)
        .write_all(&[&[number.unwrap_or(u8::MAX)][..], &(errno as i32).to_ne_bytes()].concat());
}

/// The failure in a report; `None` if there is none, so that the file was executed.
pub(super) fn reported(report: &[u8]) -> Option<HookFailure> {
    let (step, errno) = report.split_first_chunk::<1>()?;
    let errno = Errno::from_raw(i32::from_ne_bytes(*errno.first_chunk()?));
    let [step] = step;
    Some(match STEPS.get(usize::from(*step)) {
        Some(IsolationStep::Exec) => HookFailure::Exec(errno),
        Some(step) => HookFailure::Isolation(*step, errno),
        None => HookFailure::Isolation(IsolationStep::Streams, errno),
    })
}
