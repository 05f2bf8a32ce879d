//! The starter: a process that starts workers for the agent, which may execute nothing once it serves.
//!
//! It is forked before the agent confines itself, knows no ticket, and does one thing: for a message with two pipes it executes
//! `lgss_negotiate --renew` with them as descriptors 3 and 4. It ends with the agent, its workers end with it, and none of them
//! lives longer than its time. What it cannot start, it tells by the pipe for the answer.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpid, getppid};

use super::confinement::confine;
use crate::config::Config;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::renewing::{RENEW_WORD, RenewalAnswer};
use crate::sys::exec::{Execution, NotExecuted, close_all_but};
use crate::sys::files::open_trusted;
use crate::sys::fork::{ForkResult, fork};
use crate::sys::process::{self, Process, end};
use crate::sys::{jail, passing};

/// Most workers at a time.
pub(super) const WORKERS: usize = 4;
/// How long a worker may live beyond the time for its KDC.
const WORKER_MARGIN: Duration = Duration::from_secs(4);
/// When one that was killed and has not ended is killed again.
const KILLED_AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for nothing.
const LOOK: Duration = Duration::from_secs(3600);
/// The only message.
const START: u8 = 1;

/// The agent's end.
#[derive(Debug)]
pub(super) struct Starter(OwnedFd);

impl Starter {
    /// Forks it.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM, EMFILE; EDEADLK if this process has other threads.
    pub(super) fn launch(config: &Config) -> Result<Self, Errno> {
        let (ours, theirs) = passing::pair()?;
        let agent = getpid();
        match fork()? {
            ForkResult::Child => run(&theirs, agent, config),
            ForkResult::Parent { .. } => Ok(Self(ours)),
        }
    }

    /// Asks for a worker with the pipe that it reads and the one that it writes.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET if the starter has ended; EAGAIN, ENOBUFS, ENOMEM.
    pub(super) fn start(&self, pipes: [&OwnedFd; 2]) -> Result<(), Errno> {
        passing::send(self.0.as_fd(), &[START], &pipes.map(AsFd::as_fd))
    }
}

/// The starter's life.
fn run(door: &OwnedFd, agent: Pid, config: &Config) -> ! {
    // For people who look at processes.
    let _ = nix::sys::prctl::set_name(c"lgss_starter");
    // Connections and doors are the agent's.
    let alone = close_all_but(&[door.as_fd()]).is_ok();
    let bound = alone && jail::die_with_parent().is_ok() && getppid() == agent;
    if !bound || confine(config).is_err() {
        end(1)
    }
    let mut workers = Vec::new();
    while attend(door, &mut workers, config) {}
    end(0)
}

struct Worker {
    process: Process,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StarterEvent {
    Message,
    WorkerEnded,
}

/// Waits for something, and does it. Returns whether the agent still lives.
fn attend(door: &OwnedFd, workers: &mut Vec<Worker>, config: &Config) -> bool {
    let mut events: Vec<_> =
        workers.iter().map(|worker| (StarterEvent::WorkerEnded, worker.process.as_fd())).collect();
    if workers.len() < WORKERS {
        events.push((StarterEvent::Message, door.as_fd()));
    }
    let deadline = workers.iter().map(|worker| worker.until).min();
    let deadline = deadline.unwrap_or_else(|| Instant::now() + LOOK);
    let Ok(happened) = process::readable(&events, deadline) else { return false };
    drop(events);
    end_overdue(workers, Instant::now());
    !happened.contains(&StarterEvent::Message) || take_message(door, workers, config)
}

fn end_overdue(workers: &mut Vec<Worker>, now: Instant) {
    workers.retain_mut(|worker| {
        if worker.until <= now {
            let _ = worker.process.kill();
            worker.until = now + KILLED_AGAIN;
        }
        worker.process.ended().is_none()
    });
}

fn take_message(door: &OwnedFd, workers: &mut Vec<Worker>, config: &Config) -> bool {
    let mut message = [0; 4];
    let pipes = match passing::take(door.as_fd(), &mut message) {
        Ok((0, _)) => return false,
        Ok((1, pipes)) if message.first() == Some(&START) => <[OwnedFd; 2]>::try_from(pipes).ok(),
        // Another message, or one for which there was no room.
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR | Errno::EMSGSIZE) => None,
        Err(_) => return false,
    };
    let Some(pipes) = pipes else { return true };
    let until = Instant::now() + config.timeouts.kdc.0 + WORKER_MARGIN;
    workers.extend(start_worker(pipes, config).map(|process| Worker { process, until }));
    true
}

/// The worker's process; without one, somebody has been told.
fn start_worker(pipes: [OwnedFd; 2], config: &Config) -> Option<Process> {
    let starter = getpid();
    match fork() {
        Ok(ForkResult::Parent { child }) => Process::of_child(child).ok(),
        Ok(ForkResult::Child) => {
            let Err((failure, answer)) = become_worker(pipes, starter, config);
            say(answer, &failure);
            end(1)
        }
        Err(errno) => {
            let [_, answer] = pipes;
            say(answer, &launch_failed("fork", errno));
            None
        }
    }
}

fn become_worker(
    [order, answer]: [OwnedFd; 2],
    starter: Pid,
    config: &Config,
) -> Result<Infallible, (Failure, OwnedFd)> {
    let prepared = prepare(starter, config)
        .and_then(|ready| Ok((ready, answer.try_clone().map_err(|_| launch_failed("exec", Errno::EMFILE))?)));
    let ((program, environment), told) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return Err((failure, answer)),
    };
    let name = &config.worker.to_string_lossy();
    let (argv, environment) = (&[c"lgss_negotiate", RENEW_WORD], &[environment.as_c_str()]);
    let execution = Execution { program, name, argv, environment, descriptors: vec![order, answer] };
    execution.run([told], |[told], worker, obstacle| {
        let failure = match obstacle {
            NotExecuted::Descriptors(errno) => launch_failed("exec", errno),
            NotExecuted::Exec(errno) => launch_failed(&format!("worker {worker} cannot be executed"), errno),
        };
        say(told, &failure);
    })
}

fn prepare(starter: Pid, config: &Config) -> Result<(OwnedFd, CString), Failure> {
    let failed = |step| move |errno| launch_failed(step, errno);
    jail::die_with_parent().map_err(failed("parent"))?;
    if getppid() != starter {
        return Err(launch_failed("parent", Errno::ESRCH));
    }
    jail::lower_resources(config.limits.memory).map_err(failed("limits"))?;
    let program = open_trusted(&config.worker, OFlag::O_PATH)
        .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, format_args!("worker: {error}")))?;
    let environment = [b"KRB5_CONFIG=", config.krb5_config.as_os_str().as_bytes()].concat();
    let environment = CString::new(environment).map_err(|_| launch_failed("exec", Errno::EINVAL))?;
    Ok((program.into(), environment))
}

fn launch_failed(step: &str, errno: Errno) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("{step}: {errno}"))
}

fn say(answer: OwnedFd, failure: &Failure) {
    let _ = File::from(answer).write_all(&RenewalAnswer::failure(failure));
}
