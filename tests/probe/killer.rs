//! `lgss-probe kill-at DIR PROGRAM ARGUMENT…`: runs the upcall under ptrace(2) and kills one of its processes on entry
//! to its n-th system call.
//!
//! Which process and which call the key's instance says: `kill-front-17`, `kill-monitor-3`, `kill-worker-40` (the
//! launcher becomes the worker). `hang-front-2` stops the front for good instead. What was killed, or that there were not so many calls, is written to `DIR/<instance>`.
//! The kernel waits for the process started here, so that one ends with the front; a child of it is the tracer.

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub(crate) fn run(arguments: &[OsString]) -> ! {
    let [directory, program, words @ ..] = arguments else { panic!("kill-at DIR PROGRAM ARGUMENT…") };
    let mut command = Command::new(program);
    command.args(words);
    let instance = words.iter().filter_map(|word| word.to_str()).find_map(|word| word.strip_prefix("lgss:"));
    let instance = instance.and_then(|description| description.rsplit(':').next()).unwrap_or_default();
    let Some(target) = Target::named(instance) else { panic!("exec: {}", command.exec()) };

    let (mut front_ended, front_ends) = std::io::pipe().expect("pipe");
    // SAFETY: the only thread.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { .. } => {
            drop(front_ends);
            let _ = front_ended.read(&mut [0]);
            std::process::exit(0)
        }
        ForkResult::Child => {
            let file = Path::new(directory).join(instance);
            let panicked = file.clone();
            // Nobody sees what the upcall's processes write to stderr.
            std::panic::set_hook(Box::new(move |panic| {
                drop(std::fs::write(&panicked, format!("{panic}\n")))
            }));
            let outcome = Tracer::start(command, target, front_ends).run();
            std::fs::write(file, outcome).expect("writing the outcome");
            std::process::exit(0)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    /// It stays where it is, until somebody else kills it; its calls are counted from the start of the monitor.
    Hang,
}

struct Target {
    blow: Blow,
    /// How many forks below the front.
    depth: u32,
    /// The call at which it dies, from 1.
    call: u32,
}

impl Target {
    fn named(instance: &str) -> Option<Self> {
        let (blow, rest) = instance.split_once('-')?;
        let blow = match blow {
            "kill" => Blow::Kill,
            "hang" => Blow::Hang,
            _ => return None,
        };
        let (role, call) = rest.split_once('-')?;
        let depth = ["front", "monitor", "worker"].iter().position(|name| *name == role)?;
        Some(Self { blow, depth: depth as u32, call: call.parse().ok()? })
    }
}

struct Tracer {
    target: Target,
    front: Pid,
    front_ends: Option<std::io::PipeWriter>,
    depths: BTreeMap<Pid, u32>,
    /// Children that stopped before the event of their fork.
    early: BTreeSet<Pid>,
    in_call: bool,
    calls: u32,
}

impl Tracer {
    fn start(mut command: Command, target: Target, front_ends: std::io::PipeWriter) -> Self {
        // SAFETY: the only thread; the child stops at its exec.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => {
                waitpid(child, None).expect("the front stops at its exec");
                let follow =
                    Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
                ptrace::setoptions(
                    child,
                    Options::PTRACE_O_TRACESYSGOOD | follow | Options::PTRACE_O_TRACEEXEC,
                )
                .expect("options");
                let depths = BTreeMap::from([(child, 0)]);
                let tracer = Self {
                    target,
                    front: child,
                    front_ends: Some(front_ends),
                    depths,
                    early: BTreeSet::new(),
                    in_call: false,
                    calls: 0,
                };
                tracer.resume(child, None);
                tracer
            }
            ForkResult::Child => {
                drop(front_ends);
                ptrace::traceme().expect("traceme");
                panic!("exec: {}", command.exec())
            }
        }
    }

    /// Until all have ended.
    fn run(mut self) -> String {
        let mut killed = None;
        // To the end of all of them: what a tracer leaves behind may be stopped for ever.
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                    if pid == self.front {
                        self.front_ends = None;
                    }
                }
                Ok(WaitStatus::PtraceSyscall(pid)) => {
                    self.in_call = !self.in_call;
                    let counts = self.target.blow == Blow::Kill || self.depths.len() > 1;
                    self.calls += u32::from(self.in_call && counts);
                    if self.in_call && self.calls == self.target.call {
                        let number = ptrace::getregs(pid).map(|registers| registers.orig_rax);
                        if self.target.blow == Blow::Kill {
                            kill(pid, Signal::SIGKILL).expect("kill");
                        }
                        killed = Some(format!("killed at call {} number {number:?}\n", self.calls));
                    } else {
                        self.resume(pid, None);
                    }
                }
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                    if event != libc::PTRACE_EVENT_EXEC {
                        self.adopt(pid);
                    }
                    self.resume(pid, None);
                }
                Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)) if !self.depths.contains_key(&pid) => {
                    self.early.insert(pid);
                }
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    self.resume(
                        pid,
                        Some(signal).filter(|signal| !matches!(signal, Signal::SIGSTOP | Signal::SIGTRAP)),
                    );
                }
                Ok(_) => {}
                // Nobody left.
                Err(_) => break,
            }
        }
        killed.unwrap_or_else(|| format!("ended after {} calls\n", self.calls))
    }

    /// The child that `parent` has just made.
    fn adopt(&mut self, parent: Pid) {
        // It may have been killed meanwhile.
        let Ok(child) = ptrace::getevent(parent) else { return };
        let child = Pid::from_raw(child as i32);
        self.depths.insert(child, self.depths[&parent] + 1);
        if self.early.remove(&child) {
            self.resume(child, None);
        }
    }

    /// The first at its depth: the monitor's second child only guards the key's expiry.
    fn is_target(&self, pid: Pid) -> bool {
        let of_depth = |pid: &Pid| self.depths.get(pid) == Some(&self.target.depth);
        of_depth(&pid) && self.depths.keys().filter(|pid| of_depth(pid)).min() == Some(&pid)
    }

    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        // A process that was killed meanwhile reports that itself.
        let _ = if self.is_target(pid) { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
    }
}
