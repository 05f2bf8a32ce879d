//! `lgss-probe kill-at DIR PROGRAM ARGUMENT…`: runs the upcall under ptrace(2) and kills one of its processes on entry
//! to its n-th system call.
//!
//! The key's instance names the process and the call: `kill-front-17`, `kill-monitor-3`, `kill-worker-40` (the launcher
//! becomes the worker). `hang-front-2` stops the front for good instead.
//! `tear-front-2` kills it in the allocator, at the second of the instructions that [`Target::instructions`] chooses there,
//! once there is a monitor. `DIR/allocator` has where the allocator's code is in a static program: lines of two hexadecimal
//! numbers, relative to its start. Without that file any code of a shared C library counts.
//! `fail-front-17-12` lets that call fail with the error of this number, and leaves the process alive.
//! `shorten-front-17-byte` has one byte transferred by the 17th read or write, `shorten-front-0-half` half of what is
//! wanted by each. As `lgss-probe strike DIR TARGET PROGRAM ARGUMENT…` it has these words as an argument, for keys
//! without an instance. `DIR/<instance>` says what was killed, or that there were fewer calls, as soon as that is known
//! and the process has ended; the others may go on. `DIR/<instance>.crash` has a line for each process that died of a signal
//! which nobody had sent. The kernel waits for the process started here, so that one ends with the front; the tracer is a
//! child of it.

use crate::led::Led;
use crate::short::Transfers;
use crate::target::{Blow, Role, Target};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run(arguments: &[OsString]) -> ! {
    let [directory, upcall @ ..] = arguments else { panic!("kill-at DIR PROGRAM ARGUMENT…") };
    let instance = upcall.iter().filter_map(|word| word.to_str()).find_map(|word| word.strip_prefix("lgss:"));
    let instance = instance.and_then(|description| description.rsplit(':').next()).unwrap_or_default();
    strike(directory, instance, upcall)
}

/// The same for a target that is an argument.
pub(crate) fn run_against(arguments: &[OsString]) -> ! {
    let [directory, target, upcall @ ..] = arguments else { panic!("strike DIR TARGET PROGRAM ARGUMENT…") };
    strike(directory, target.to_str().unwrap_or_default(), upcall)
}

fn strike(directory: &OsString, instance: &str, upcall: &[OsString]) -> ! {
    let [program, words @ ..] = upcall else { panic!("no program") };
    let mut command = Command::new(program);
    command.args(words);
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
            // Nobody reads what the upcall's processes write to stderr.
            std::panic::set_hook(Box::new(move |panic| {
                drop(std::fs::write(&panicked, format!("{panic}\n")))
            }));
            Tracer::start(command, target, front_ends, file).run();
            std::process::exit(0)
        }
    }
}

/// A living process.
struct Traced {
    role: Role,
    has_child: bool,
}

struct Tracer {
    target: Target,
    file: PathBuf,
    front_ends: Option<std::io::PipeWriter>,
    /// Without processes that have ended, since their ids are used again.
    living: BTreeMap<Pid, Traced>,
    /// Children that stopped before their fork was reported.
    early: BTreeSet<Pid>,
    monitor_exists: bool,
    worker_runs: bool,
    exchange_exists: bool,
    in_call: bool,
    calls: u32,
    transfers: Transfers,
    /// How a target that is killed in the allocator gets there.
    led: Option<Led>,
    /// What happened to the target; reported when it has ended.
    struck: Option<String>,
}

impl Tracer {
    fn start(mut command: Command, target: Target, front_ends: std::io::PipeWriter, file: PathBuf) -> Self {
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
                let front = Traced { role: Role::Front, has_child: false };
                let tracer = Self {
                    target,
                    file,
                    front_ends: Some(front_ends),
                    living: BTreeMap::from([(child, front)]),
                    early: BTreeSet::new(),
                    monitor_exists: false,
                    worker_runs: false,
                    exchange_exists: false,
                    in_call: false,
                    calls: 0,
                    transfers: Transfers::default(),
                    led: None,
                    struck: None,
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

    /// Runs until all have ended: a tracer that leaves may leave them stopped for ever.
    fn run(mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL)) {
            match status {
                WaitStatus::Exited(pid, _) => self.bury(pid),
                WaitStatus::Signaled(pid, signal, _) => {
                    if self.target.blow == Blow::Tear && self.is_target(pid) && self.struck.is_none() {
                        self.struck = Some(self.end_by(signal));
                    }
                    self.note_crash(pid, signal);
                    self.bury(pid);
                }
                WaitStatus::PtraceSyscall(pid) => self.count_call(pid),
                WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => {
                    let role = self.living[&pid].role;
                    // After a call that failed, another process may have to be started.
                    let fails = matches!(self.target.blow, Blow::Fail(_));
                    let right = fails || role == Role::Front || role == Role::Worker;
                    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    assert!(right, "a program in the wrong process: {role:?} executes {words:?}");
                    self.worker_runs |= role == Role::Worker;
                    self.resume(pid, None);
                }
                WaitStatus::PtraceEvent(pid, ..) => {
                    self.adopt_child_of(pid);
                    self.resume(pid, None);
                }
                WaitStatus::Stopped(pid, Signal::SIGSTOP) if !self.living.contains_key(&pid) => {
                    self.early.insert(pid);
                    // Its parent may have ended already.
                    self.release_orphans();
                }
                WaitStatus::Stopped(pid, Signal::SIGTRAP) if self.is_led(pid) => self.count_instruction(pid),
                WaitStatus::Stopped(pid, Signal::SIGTRAP)
                    if self.led.as_ref().is_some_and(Led::runs_elsewhere) =>
                {
                    self.led.iter().for_each(|led| led.let_through(pid));
                    self.resume(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => {
                    let passed = !matches!(signal, Signal::SIGSTOP | Signal::SIGTRAP);
                    self.resume(pid, Some(signal).filter(|_| passed));
                }
                _ => {}
            }
        }
        // The target never existed.
        if !self.file.exists() {
            self.tell("there was no such process\n");
        }
    }

    fn count_call(&mut self, pid: Pid) {
        self.in_call = !self.in_call;
        let from_its_start = matches!(self.target.blow, Blow::Kill | Blow::Fail(_) | Blow::Shorten(_));
        self.calls += u32::from(self.in_call && (from_its_start || self.monitor_exists));
        if let Blow::Fail(errno) = self.target.blow {
            if self.calls == self.target.call {
                self.fail(pid, errno);
            }
            return self.resume(pid, None);
        }
        if let Blow::Shorten(part) = self.target.blow {
            match self.in_call {
                true => self.transfers.begin(pid, self.target.call, part),
                false => self.transfers.end(pid),
            }
            return self.resume(pid, None);
        }
        if self.target.blow == Blow::Tear {
            if !self.in_call && self.monitor_exists && self.led.is_none() {
                self.led = Some(Led::new(pid, &self.file.with_file_name("allocator")));
            }
            return self.resume(pid, None);
        }
        if !self.in_call || self.calls != self.target.call {
            return self.resume(pid, None);
        }
        let number = ptrace::getregs(pid).map(|registers| registers.orig_rax);
        if self.target.blow == Blow::Kill {
            kill(pid, Signal::SIGKILL).expect("kill");
        }
        self.struck = Some(format!("killed at call {} number {number:?}\n", self.calls));
    }

    /// Lets the call that begins, or that has begun before, fail. Those that end a process or a signal handler cannot, nor those
    /// of which the manual says that they always succeed.
    fn fail(&mut self, pid: Pid, errno: i32) {
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        if self.in_call {
            let number = registers.orig_rax;
            let cannot = [
                libc::SYS_exit,
                libc::SYS_exit_group,
                libc::SYS_rt_sigreturn,
                libc::SYS_getpid,
                libc::SYS_getppid,
                libc::SYS_gettid,
            ];
            if cannot.iter().any(|call| u64::try_from(*call) == Ok(number)) {
                self.struck = Some(format!("call {} number {number} cannot fail\n", self.calls));
                return;
            }
            self.struck = Some(format!("failed call {} number {number} with {errno}\n", self.calls));
            // No call has this number, so nothing is done.
            registers.orig_rax = u64::MAX;
        } else if self.struck.as_ref().is_some_and(|struck| struck.starts_with("failed")) {
            registers.rax = i64::from(-errno).cast_unsigned();
        } else {
            return;
        }
        let _ = ptrace::setregs(pid, registers);
    }

    fn is_target(&self, pid: Pid) -> bool {
        self.living.get(&pid).is_some_and(|process| process.role == self.target.role)
    }

    /// What has become of a front that a signal ended before its instruction. The monitor ends one that is blocked, or is stepped
    /// too long.
    fn end_by(&self, signal: Signal) -> String {
        let too_slow = self.led.as_ref().is_some_and(|led| led.count > 0 && !led.runs_elsewhere());
        match signal {
            Signal::SIGKILL if too_slow => "ended by another\n".to_owned(),
            Signal::SIGKILL => "killed at call 0 by another\n".to_owned(),
            other => format!("died of {other}\n"),
        }
    }

    fn is_led(&self, pid: Pid) -> bool {
        self.led.is_some() && self.is_target(pid)
    }

    fn count_instruction(&mut self, pid: Pid) {
        let Some(led) = self.led.as_mut() else { return };
        let at = led.has_stopped(pid);
        if led.count < self.target.instructions() {
            return self.resume(pid, None);
        }
        kill(pid, Signal::SIGKILL).expect("kill");
        self.struck =
            Some(format!("killed at call {} and {} instructions, at {at:#x}\n", self.calls, led.count));
    }

    fn bury(&mut self, pid: Pid) {
        let Some(Traced { role, .. }) = self.living.remove(&pid) else {
            self.early.remove(&pid);
            return;
        };
        self.release_orphans();
        if role == self.target.role {
            let calls = self.calls;
            let told = match self.target.blow {
                Blow::Shorten(_) => self.transfers.told(self.target.call),
                Blow::Tear if self.struck.is_none() => {
                    self.led.as_ref().map(|led| format!("ended after {} instructions\n", led.count))
                }
                _ => self.struck.clone(),
            };
            let told = told.unwrap_or_else(|| format!("ended after {calls} calls\n"));
            self.tell(&told);
        }
        if role == Role::Front {
            self.front_ends = None;
        }
    }

    /// Releases children whose parent was killed before their fork was reported.
    fn release_orphans(&mut self) {
        let is_orphan = |child: &Pid| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            parent.is_none_or(|parent| !self.living.contains_key(&Pid::from_raw(parent)))
        };
        let orphans: Vec<_> = self.early.iter().copied().filter(is_orphan).collect();
        for child in orphans {
            self.early.remove(&child);
            self.living.insert(child, Traced { role: Role::Other, has_child: false });
            self.resume(child, None);
        }
    }

    /// A signal that nobody has sent. In a file of its own, `<instance>.crash`, since another process than the target may die of
    /// it long after the target.
    fn note_crash(&self, pid: Pid, signal: Signal) {
        const OF_CRASHES: [Signal; 6] = [
            Signal::SIGABRT,
            Signal::SIGBUS,
            Signal::SIGILL,
            Signal::SIGSEGV,
            Signal::SIGSYS,
            Signal::SIGTRAP,
        ];
        let Some(Traced { role, .. }) = self.living.get(&pid) else { return };
        if !OF_CRASHES.contains(&signal) {
            return;
        }
        let after = self.struck.as_deref().unwrap_or("nothing\n");
        let file = File::options().create(true).append(true).open(self.file.with_extension("crash"));
        file.and_then(|mut file| write!(file, "{role:?} died of {signal} after {after}"))
            .expect("writing of a crash");
    }

    /// Renamed into place, since a test waits for the file.
    fn tell(&self, what: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, what)
            .and_then(|()| std::fs::rename(&new, &self.file))
            .expect("writing the outcome");
    }

    fn adopt_child_of(&mut self, parent: Pid) {
        // It may have been killed in the meantime.
        let Ok(child) = ptrace::getevent(parent) else { return };
        let child = Pid::from_raw(child as i32);
        let maker = self.living.get_mut(&parent).expect("who makes a process is known");
        let role = match maker.role {
            Role::Monitor if self.worker_runs && !self.exchange_exists => Role::Exchange,
            _ if maker.has_child => Role::Other,
            role => role.of_first_child(),
        };
        maker.has_child = true;
        self.exchange_exists |= role == Role::Exchange;
        self.monitor_exists |= role == Role::Monitor;
        self.living.insert(child, Traced { role, has_child: false });
        if self.early.remove(&child) {
            self.resume(child, None);
        }
    }

    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        let is_target = self.is_target(pid);
        // A process that was killed in the meantime reports that itself.
        let _ = match (is_target, &self.led) {
            (true, Some(led)) if led.is_stepped() => ptrace::step(pid, signal),
            (true, None) => ptrace::syscall(pid, signal),
            _ => ptrace::cont(pid, signal),
        };
    }
}
