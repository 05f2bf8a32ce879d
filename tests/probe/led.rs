//! A process led to an instruction of the allocator.

use nix::sys::ptrace;
use nix::unistd::Pid;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// `int3`; the process stops at the byte after it.
const BREAKPOINT: u8 = 0xcc;
/// Longer code is not one function.
const FUNCTION_BYTES: u64 = 4096;

/// A function of the allocator, by its first instruction.
struct Entry {
    address: u64,
    code: u8,
}

/// A call of the allocator, from its entry until it returns.
#[derive(Clone, Copy)]
struct Call {
    returns_to: u64,
    stack: u64,
}

/// Counts the instructions of the allocator that a stopped process executes. In a program whose functions are known it is
/// single-stepped only from a function's entry until it returns; otherwise it runs at its own speed.
pub(crate) struct Led {
    /// Where instructions count.
    code: Vec<Range<u64>>,
    /// Without any the process is single-stepped everywhere.
    entries: Vec<Entry>,
    memory: File,
    call: Option<Call>,
    pub(crate) count: u32,
}

impl Led {
    /// Takes the allocator's addresses from the file that [`crate::killer`] describes, or else those of a shared C library.
    pub(crate) fn new(pid: Pid, known: &Path) -> Self {
        let memory = memory_of(pid);
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let known = std::fs::read_to_string(known).ok();
        let code =
            known.as_deref().map_or_else(|| code_of_library(&maps), |known| code_of_program(&maps, known));
        let are_functions =
            known.is_some() && code.iter().all(|range| range.end - range.start < FUNCTION_BYTES);
        let entry = |range: &Range<u64>| {
            let mut code = [0];
            memory.read_exact_at(&mut code, range.start).expect("the allocator's code");
            Entry { address: range.start, code: code[0] }
        };
        let entries: Vec<_> = code.iter().filter(|_| are_functions).map(entry).collect();
        let led = Self { code, entries, memory, call: None, count: 0 };
        led.set_breakpoints();
        led
    }

    /// Whether it stops after its next instruction; else at the entry of a function.
    pub(crate) fn is_stepped(&self) -> bool {
        self.entries.is_empty() || self.call.is_some()
    }

    /// Whether the process runs at its own speed outside the allocator.
    pub(crate) fn runs_elsewhere(&self) -> bool {
        !self.entries.is_empty()
    }

    /// To be called after each stop by a breakpoint or a step. Returns where the process is.
    pub(crate) fn has_stopped(&mut self, pid: Pid) -> u64 {
        let Ok(mut registers) = ptrace::getregs(pid) else { return 0 };
        match self.call {
            None if self.runs_elsewhere() => {
                self.go_back(pid, &mut registers);
                let mut returns_to = [0; 8];
                self.memory.read_exact_at(&mut returns_to, registers.rsp).expect("its stack");
                self.call = Some(Call { returns_to: u64::from_ne_bytes(returns_to), stack: registers.rsp });
                self.remove_breakpoints(&self.memory);
            }
            Some(call) if registers.rip == call.returns_to && registers.rsp > call.stack => {
                self.call = None;
                self.set_breakpoints();
            }
            _ => {}
        }
        self.count += u32::from(self.code.iter().any(|range| range.contains(&registers.rip)));
        registers.rip
    }

    /// Lets another process pass a breakpoint for good. The monitor, which has the target's memory, and its children allocate once
    /// the target has ended.
    pub(crate) fn let_through(&self, pid: Pid) {
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        self.go_back(pid, &mut registers);
        self.remove_breakpoints(&memory_of(pid));
    }

    /// To the instruction that a breakpoint stands for.
    fn go_back(&self, pid: Pid, registers: &mut libc::user_regs_struct) {
        registers.rip -= 1;
        let known = self.entries.iter().any(|entry| entry.address == registers.rip);
        assert!(known, "a breakpoint of another at {:#x}", registers.rip);
        // A process that was killed in the meantime reports that itself.
        let _ = ptrace::setregs(pid, *registers);
    }

    fn set_breakpoints(&self) {
        for entry in &self.entries {
            write(&self.memory, entry.address, BREAKPOINT);
        }
    }

    fn remove_breakpoints(&self, memory: &File) {
        for entry in &self.entries {
            write(memory, entry.address, entry.code);
        }
    }
}

fn memory_of(pid: Pid) -> File {
    File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).expect("a process's memory")
}

fn write(memory: &File, address: u64, code: u8) {
    memory.write_all_at(&[code], address).expect("writing the allocator's code");
}

fn range_of(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

fn code_of_program(maps: &str, known: &str) -> Vec<Range<u64>> {
    let program = maps.lines().find(|line| line.ends_with("/lgss_keyring")).and_then(range_of);
    let base = program.expect("the program is mapped").start;
    known.lines().filter_map(range_of).map(|range| base + range.start..base + range.end).collect()
}

fn code_of_library(maps: &str) -> Vec<Range<u64>> {
    let code = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains("/libc.so"));
    code.filter_map(range_of).collect()
}
