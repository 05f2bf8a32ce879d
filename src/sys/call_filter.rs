//! Filters of system calls (seccomp(2)). They need no_new_privs.
//!
//! A process may have several filters. The strictest answer counts: death, then an error, then permission; of two errors, that of
//! the later filter.

use std::collections::BTreeMap;
use std::ffi::c_long;
use std::io;

use nix::errno::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallAnswer {
    /// The call is made.
    Allow,
    /// The caller gets an error.
    Refuse(Errno),
    /// The process is killed by SIGSYS, which the kernel logs where it audits.
    Kill,
}

impl From<CallAnswer> for SeccompAction {
    fn from(answer: CallAnswer) -> Self {
        match answer {
            CallAnswer::Allow => Self::Allow,
            CallAnswer::Refuse(errno) => Self::Errno((errno as i32).unsigned_abs()),
            CallAnswer::Kill => Self::KillProcess,
        }
    }
}

/// A condition for the argument of this number, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Its lower 32 bits are this.
    Is(u8, u32),
    /// They are not.
    IsNot(u8, u32),
    /// Of its lower 32 bits, those of the mask are these.
    Has {
        /// Which argument.
        argument: u8,
        /// The mask.
        mask: u32,
        /// The bits.
        bits: u32,
    },
    /// It is a null pointer.
    IsNull(u8),
}

impl Argument {
    fn condition(self) -> Result<SeccompCondition, BackendError> {
        let (argument, length, comparison, value) = match self {
            Self::Is(argument, value) => {
                (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(value))
            }
            Self::IsNot(argument, value) => {
                (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(value))
            }
            Self::Has { argument, mask, bits } => {
                let mask = SeccompCmpOp::MaskedEq(mask.into());
                (argument, SeccompCmpArgLen::Dword, mask, u64::from(bits))
            }
            Self::IsNull(argument) => (argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        };
        SeccompCondition::new(argument, length, comparison, value)
    }
}

/// Calls with the same answer.
#[derive(Debug, Default)]
pub(crate) struct CallRules {
    always: Vec<c_long>,
    sometimes: Vec<(c_long, Vec<Argument>)>,
}

impl CallRules {
    /// Adds calls, whatever their arguments are.
    pub(crate) fn calls(mut self, numbers: &[c_long]) -> Self {
        self.always.extend_from_slice(numbers);
        self
    }

    /// Adds a call with arguments that meet all of these conditions. The conditions of several additions are alternatives.
    pub(crate) fn call_with(mut self, number: c_long, conditions: &[Argument]) -> Self {
        self.sometimes.push((number, conditions.to_vec()));
        self
    }

    /// [`CallFilter::enforce`] with [`CallRules::compile`].
    ///
    /// # Errors
    /// The library's or the kernel's.
    pub(crate) fn enforce(&self, answer: CallAnswer, others: CallAnswer) -> io::Result<()> {
        self.compile(answer, others)?.enforce()
    }

    /// A filter with `answer` for these calls, and `others` for all others. Calls of another architecture, such as those of
    /// 32-bit programs, kill the process.
    ///
    /// # Errors
    /// The library's; Unsupported on a machine that it has no filters for.
    pub(crate) fn compile(&self, answer: CallAnswer, others: CallAnswer) -> io::Result<CallFilter> {
        let machine = std::env::consts::ARCH.try_into().map_err(|_| io::ErrorKind::Unsupported)?;
        self.program(machine, answer, others).map(CallFilter).map_err(io::Error::other)
    }

    fn program(
        &self,
        machine: TargetArch,
        answer: CallAnswer,
        others: CallAnswer,
    ) -> Result<BpfProgram, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for (number, conditions) in &self.sometimes {
            let conditions =
                conditions.iter().map(|argument| argument.condition()).collect::<Result<_, _>>()?;
            rules.entry(*number).or_default().push(SeccompRule::new(conditions)?);
        }
        // A call without rules has its answer in every case.
        rules.extend(self.always.iter().map(|&number| (number, Vec::new())));
        let program = SeccompFilter::new(rules, others.into(), answer.into(), machine)?.try_into()?;
        Ok(without_x32(program))
    }
}

/// Has the filter answer calls of x32 programs as a kernel that does not know them does: a list of what is refused would pass
/// them, since their numbers are others (seccomp(2)).
#[cfg(target_arch = "x86_64")]
fn without_x32(mut program: BpfProgram) -> BpfProgram {
    /// The instructions that check the architecture.
    const CHECK: usize = 3;
    let instruction = |code: u32, jf, k| {
        // The codes have 16 bits.
        let [low, high, ..] = code.to_le_bytes();
        seccompiler::sock_filter { code: u16::from_le_bytes([low, high]), jt: 0, jf, k }
    };
    let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let number_is_x32 = [
        // The call's number is the first field.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, super::tables::X32_BIT),
        instruction(libc::BPF_RET | libc::BPF_K, 0, unknown),
    ];
    program.splice(CHECK..CHECK, number_is_x32);
    program
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32(program: BpfProgram) -> BpfProgram {
    program
}

/// A filter that is ready for use.
#[derive(Debug)]
pub(crate) struct CallFilter(BpfProgram);

impl CallFilter {
    /// Filters the calls of all threads of this process from now on. Allocates nothing, unless it fails.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn enforce(&self) -> io::Result<()> {
        seccompiler::apply_filter_all_threads(&self.0).map_err(|error| match error {
            seccompiler::Error::Prctl(kernels) | seccompiler::Error::Seccomp(kernels) => kernels,
            other => io::Error::other(other),
        })
    }

    /// The same for the calling thread alone.
    #[cfg(test)]
    pub(crate) fn enforce_for_this_thread(&self) -> Result<(), seccompiler::Error> {
        seccompiler::apply_filter(&self.0)
    }

    /// Whether it looks at the architecture first, and kills the process for another than this machine's: the numbers of calls
    /// mean others there (seccomp(2)).
    #[cfg(test)]
    pub(crate) fn kills_other_architectures_first(&self) -> bool {
        const OFFSET_OF_ARCHITECTURE: u32 = 4;
        // AUDIT_ARCH_X86_64 or AUDIT_ARCH_AARCH64: 64 bits, little-endian, and ELF's number of the machine.
        const THIS: u32 = 0xc000_0000 | if cfg!(target_arch = "x86_64") { 62 } else { 183 };
        let instruction = |code, jt, k| seccompiler::sock_filter { code, jt, jf: 0, k };
        let beginning = [
            // BPF_LD | BPF_W | BPF_ABS.
            instruction(0x20, 0, OFFSET_OF_ARCHITECTURE),
            // BPF_JMP | BPF_JEQ | BPF_K: over the next one.
            instruction(0x15, 1, THIS),
            // BPF_RET | BPF_K.
            instruction(0x06, 0, libc::SECCOMP_RET_KILL_PROCESS),
        ];
        self.0.starts_with(&beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::tables::X32_BIT;
    use std::thread;

    /// What a thread finds that alone has the filter.
    fn confined<T: Send + 'static>(
        rules: CallRules,
        [answer, others]: [CallAnswer; 2],
        found: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let filter = rules.compile(answer, others).unwrap();
        let thread = thread::spawn(move || {
            filter.enforce_for_this_thread().unwrap();
            found()
        });
        thread.join().unwrap()
    }

    #[test]
    fn every_filter_begins_with_the_death_of_calls_of_another_architecture() {
        let rules = [
            CallRules::default(),
            CallRules::default().calls(&[libc::SYS_getppid]),
            CallRules::default().call_with(libc::SYS_prctl, &[Argument::IsNull(2)]),
        ];
        let pairs = [
            [CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM)],
            [CallAnswer::Refuse(Errno::ENOSYS), CallAnswer::Allow],
            [CallAnswer::Kill, CallAnswer::Allow],
        ];
        for rules in &rules {
            for [answer, others] in pairs {
                let filter = rules.compile(answer, others).unwrap();
                assert!(filter.kills_other_architectures_first(), "{answer:?} for {rules:?}");
            }
        }
    }

    #[test]
    fn a_listed_call_is_refused_by_its_arguments_only() {
        const DUMPABLE: u32 = libc::PR_GET_DUMPABLE.unsigned_abs();
        let rules = CallRules::default()
            .calls(&[libc::SYS_getppid])
            .call_with(libc::SYS_prctl, &[Argument::Is(0, DUMPABLE)]);
        let answers = [CallAnswer::Refuse(Errno::ENOSYS), CallAnswer::Allow];
        let (named, other, parent) = confined(rules, answers, || {
            let mut name = [0u8; 16];
            // SAFETY: the first call writes 16 bytes to a live buffer; the others take plain numbers.
            unsafe {
                (
                    libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()),
                    libc::prctl(libc::PR_GET_DUMPABLE),
                    libc::syscall(libc::SYS_getppid),
                )
            }
        });
        assert_eq!((named, other, parent), (0, -1, -1));
    }

    #[test]
    fn a_list_of_what_is_allowed_refuses_other_arguments_and_numbers_of_other_programs() {
        const THREAD: u32 = libc::CLONE_THREAD.unsigned_abs();
        let plain = [
            libc::SYS_futex,
            libc::SYS_exit,
            libc::SYS_munmap,
            libc::SYS_madvise,
            libc::SYS_rt_sigprocmask,
            libc::SYS_sigaltstack,
            libc::SYS_getppid,
        ];
        let rules = CallRules::default()
            .calls(&plain)
            .call_with(libc::SYS_clone, &[Argument::Has { argument: 0, mask: THREAD, bits: THREAD }])
            .call_with(libc::SYS_prlimit64, &[Argument::IsNull(2)]);
        let answers = [CallAnswer::Allow, CallAnswer::Refuse(Errno::EPERM)];
        let results = confined(rules, answers, || {
            let mut limit = [0u64; 2];
            let (null, none) = (std::ptr::null_mut::<u64>(), 0 as c_long);
            // SAFETY: null pointers where that is allowed, a live buffer of two words, and numbers.
            let calls = unsafe {
                [
                    libc::syscall(libc::SYS_clone, c_long::from(libc::SIGCHLD), none, none, none, none),
                    libc::syscall(libc::SYS_prlimit64, none, 7 as c_long, null, limit.as_mut_ptr()),
                    libc::syscall(libc::SYS_prlimit64, none, 7 as c_long, limit.as_mut_ptr(), null),
                    libc::syscall(libc::SYS_getppid | c_long::from(X32_BIT)),
                ]
            };
            (calls.map(|result| result >= 0), Errno::last())
        });
        // The last is none that this kernel could know, whatever it is compiled for.
        assert_eq!(results, ([false, true, false, false], Errno::ENOSYS));
    }
}
