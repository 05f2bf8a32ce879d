//! Processes that share their maker's memory: an heir takes over when its maker has ended, a guard acts only if its maker
//! ends too early.
//!
//! Called by the front for its monitor, and where a key is published. Invariants:
//!
//! * While the maker works, they only look, sleep and change atomics. They use no heap, and no errno, which they share with
//!   the maker. An heir whose maker is overdue may set errno: it has just rejected the key, and kills the maker next.
//! * A maker can be killed anywhere, even in the middle of an allocation or while it holds a lock. So its heir first answers the
//!   key and sets its own OOM score and group, by calls that need numbers, constant strings and the stack only. The key of an
//!   overdue maker comes first, since its requester has waited long enough; that of one which ended unfinished comes last.
//!   From such a maker's end on the heap is closed: an allocation fails, which normally ends the process. What needs a heap
//!   comes after [`heap::leave_as_it_is`], bounded by an alarm.
//! * A guard stands by during two system calls of its maker, between which the maker allocates nothing. It uses no heap
//!   either.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Pid, getpid, getppid};

use super::keyctl::{self, RawSerial};
use super::process::{WaitingParent, is_runnable};
use super::{bare, heap};

const SHARED: libc::c_int = libc::CLONE_VM | libc::CLONE_FILES;
/// Stack of a process made by [`spawn_sharing`], in bytes. Its lowest page is a guard page.
const SHARING_STACK: usize = 1024 * 1024;
const PAGE: usize = 4096;
/// How long a killed caller may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks whether it has.
const KILL_LOOK: Duration = Duration::from_millis(1);

/// How long an heir's predecessor may take, and the fate of its key if it takes longer.
#[derive(Debug)]
pub(crate) struct Succession {
    /// Delay before the first check whether it has ended.
    pub first_look: Duration,
    /// Pause between the checks from then on.
    pub next_look: Duration,
    /// When its key is rejected and it is killed, if it is blocked all that time but for the first fifth.
    pub limit: Duration,
    /// The same if it only waits for a processor on a busy machine.
    pub busy_limit: Duration,
    /// The key under construction.
    pub key: RawSerial,
    /// The error of the rejected key.
    pub errno: Errno,
    /// How long it stays rejected.
    pub ttl: Duration,
    /// Lets the predecessor pass its work on.
    pub handover: &'static Handover,
    /// Set by a predecessor while it waits for another process of ours, for a limited time.
    pub starved: &'static AtomicBool,
}

/// A predecessor's work, which it can pass on to its heir.
#[derive(Debug)]
pub(crate) struct Handover {
    passed_on: AtomicBool,
    /// The heir's process id; 0 without one.
    heir: AtomicI32,
}

impl Handover {
    /// Of a process that has no heir yet.
    pub(crate) const fn new() -> Self {
        Self { passed_on: AtomicBool::new(false), heir: AtomicI32::new(0) }
    }

    /// Passes it on and waits until the heir has ended. Meanwhile all memory is the heir's, and this process touches none of
    /// it. Without an heir it returns at once.
    pub(crate) fn pass_on(&self) {
        let heir = self.heir.load(Ordering::Relaxed);
        if heir > 0 {
            self.passed_on.store(true, Ordering::Release);
            bare::wait_for_end(heir);
        }
    }
}

/// The state of an heir's predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predecessor {
    /// It ended by itself, or somebody else killed it.
    Ended,
    /// It was overdue: its key was rejected, then it was killed.
    Killed,
    /// It has passed its work on and waits for the heir's end, see [`Handover`].
    Waits(Pid),
}

/// The work that an heir takes over.
pub(crate) struct Inheritance<T: 'static> {
    /// Whether the predecessor, which has ended, had finished its work. If not, it may have been killed anywhere.
    pub had_finished: fn(&'static T) -> bool,
    /// The heir's own work, which returns its exit status.
    pub entry: fn(&'static T, Predecessor) -> i32,
    /// The argument of both.
    pub argument: &'static T,
}

/// Starts a process that takes over the caller's memory and descriptors when the caller has ended (see
/// [`spawn_sharing`]) or passed its work on. Until then it only sleeps, and kills a caller that takes too long.
///
/// Safe, because `entry` never runs beside the caller: the caller has ended, or is blocked in the kernel after SIGKILL, or waits
/// for the heir's end by a call that touches none of its memory. After a caller that had not finished, the heap is closed.
///
/// # Errors
/// EAGAIN, ENOMEM.
pub(crate) fn spawn_heir<T: Sync>(patience: Succession, inheritance: Inheritance<T>) -> Result<(), Errno> {
    struct Heir<T: 'static>(Succession, Pid, Inheritance<T>);
    fn wait<T: Sync>(Heir(patience, caller, inheritance): &'static Heir<T>) -> i32 {
        let Inheritance { had_finished, entry, argument } = *inheritance;
        let start = Instant::now();
        // Since when it was blocked at every look.
        let mut blocked: Option<Instant> = None;
        let look_closely = patience.limit / 5;
        let (mut look, mut looks) = (patience.next_look, 0);
        pause(patience.first_look);
        while getppid() == *caller
            && blocked.is_none_or(|since| since.elapsed() + look_closely < patience.limit)
            && start.elapsed() < patience.busy_limit
        {
            if patience.handover.passed_on.load(Ordering::Acquire) {
                return entry(argument, Predecessor::Waits(*caller));
            }
            pause(look);
            looks += 1;
            if looks > EARLY_LOOKS {
                look = look.saturating_mul(2).min(HEIR_LONGEST_LOOK);
            }
            if start.elapsed() < look_closely {
                continue;
            }
            let busy = patience.starved.load(Ordering::Acquire) || is_runnable(*caller);
            blocked = if busy { None } else { blocked.or_else(|| Some(Instant::now())) };
        }
        if getppid() != *caller {
            if !had_finished(argument) {
                heap::close();
            }
            return entry(argument, Predecessor::Ended);
        }
        let _ = keyctl::reject(patience.key, patience.ttl, patience.errno);
        end_overdue(*caller);
        heap::close();
        entry(argument, Predecessor::Killed)
    }
    let handover = patience.handover;
    let heir = Box::leak(Box::new(Heir(patience, getpid(), inheritance)));
    // SAFETY: while the caller works, `wait` looks, sleeps and loads atomics. It sets errno only to end an overdue caller.
    let pid = unsafe { spawn_sharing(wait, heir) }?;
    handover.heir.store(pid.as_raw(), Ordering::Relaxed);
    Ok(())
}

/// Kills the caller that has not ended, and waits for its end. One that does not end in time is blocked in the kernel: when
/// that lets it go, it ends without another step of its own. The kernel may still write into a buffer that it was given; the heir
/// uses neither its stack nor a block of its heap, which is closed.
fn end_overdue(caller: Pid) {
    let start = Instant::now();
    WaitingParent::numbered(caller).end();
    while getppid() == caller && start.elapsed() < KILL_LIMIT {
        pause(KILL_LOOK);
    }
}

/// Longest pause between two looks at a slow predecessor. On a busy machine there are hundreds of them.
const HEIR_LONGEST_LOOK: Duration = Duration::from_millis(10);
/// Number of looks before the pauses grow.
const EARLY_LOOKS: u32 = 8;

/// Starts a process that runs `entry` if the caller ends before it has set `done`. It ends when `done` is set.
///
/// Safe, because `entry` runs only after the caller has ended, and the heap is closed then.
///
/// # Errors
/// EAGAIN, ENOMEM.
pub(crate) fn spawn_guard<T: Sync>(
    done: &'static AtomicBool,
    entry: fn(&'static T),
    argument: &'static T,
) -> Result<(), Errno> {
    const LOOK: Duration = Duration::from_millis(1);
    struct Guard<T: 'static>(&'static AtomicBool, Pid, fn(&'static T), &'static T);
    fn wait<T: Sync>(Guard(done, caller, entry, argument): &'static Guard<T>) -> i32 {
        loop {
            pause(LOOK);
            let orphaned = getppid() != *caller;
            if done.load(Ordering::Acquire) {
                return 0;
            }
            if orphaned {
                heap::close();
                entry(argument);
                return 0;
            }
        }
    }
    let guard = Box::leak(Box::new(Guard(done, getpid(), entry, argument)));
    // SAFETY: while the caller works, `wait` sleeps and loads an atomic.
    unsafe { spawn_sharing(wait, guard) }.map(drop)
}

/// clone(2) with CLONE_VM and CLONE_FILES: a child process that runs `entry(argument)` on its own stack, in the caller's
/// memory and with its descriptors. The result is its exit status. Unlike fork it copies no page tables and leaves no page
/// to be copied later, neither here nor when the caller exits, and what the caller leaves in memory and open needs no
/// message. That makes the front fast.
///
/// # Safety
/// As long as the caller works, `entry` allocates nothing, changes nothing but atomics and sets no errno, unless it is about
/// to kill the caller. A caller that waits in one system call that touches none of its memory does not work.
///
/// # Errors
/// EAGAIN, ENOMEM.
pub(super) unsafe fn spawn_sharing<T>(
    entry: fn(&'static T) -> i32,
    argument: &'static T,
) -> Result<Pid, Errno> {
    struct Start<T: 'static>(fn(&'static T) -> i32, &'static T);
    extern "C" fn start<T: 'static>(start: *mut libc::c_void) -> i32 {
        // SAFETY: `start` is the leaked box below, which nobody changes.
        let Start(entry, argument) = unsafe { &*start.cast::<Start<T>>() };
        entry(argument)
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let stack = unsafe {
        libc::mmap(std::ptr::null_mut(), SHARING_STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    if stack == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let argument = Box::into_raw(Box::new(Start(entry, argument)));
    // SAFETY: the protected page is the lowest of our new mapping. The stack's top is inside that mapping and aligned, nothing
    // else uses it, and `start` gets the pointer that it expects, valid for ever. By this function's contract the child
    // touches nothing of a caller that works.
    let pid = unsafe {
        libc::mprotect(stack, PAGE, libc::PROT_NONE);
        libc::clone(start::<T>, stack.byte_add(SHARING_STACK), SHARED | libc::SIGCHLD, argument.cast())
    };
    Errno::result(pid).map(Pid::from_raw)
}

/// Sleeps for less than a second. Leaves errno alone unless a signal is handled.
pub(super) fn pause(time: Duration) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    // SAFETY: no descriptors, a time that we own, no signal mask.
    unsafe { libc::ppoll(std::ptr::null_mut(), 0, &raw const time, std::ptr::null()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::ForkResult;
    use crate::sys::process::end;
    use nix::fcntl::OFlag;
    use nix::sys::resource::{Resource, setrlimit};
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{pipe2, write};
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, RawFd};

    static TOLD: AtomicI32 = AtomicI32::new(-1);

    /// An heir that says what has become of its predecessor.
    fn tell(pipe: &'static AtomicI32, predecessor: Predecessor) -> i32 {
        let word: &[u8] = if predecessor == Predecessor::Killed { b"killed" } else { b"other" };
        // SAFETY: the test's child keeps its end of the pipe open, and this process has a copy of it.
        let pipe = unsafe { std::os::fd::BorrowedFd::borrow_raw(pipe.load(Ordering::Acquire)) };
        i32::from(write(pipe, word).is_err())
    }

    fn overdue_with_an_heir(pipe: RawFd) -> ! {
        static HANDOVER: Handover = Handover::new();
        static STARVED: AtomicBool = AtomicBool::new(false);
        TOLD.store(pipe, Ordering::Release);
        let time = Duration::from_millis;
        let patience = Succession {
            first_look: time(1),
            next_look: time(1),
            limit: time(50),
            busy_limit: time(100),
            key: 0,
            errno: Errno::EIO,
            ttl: time(1000),
            handover: &HANDOVER,
            starved: &STARVED,
        };
        let inheritance = Inheritance { had_finished: |_| false, entry: tell, argument: &TOLD };
        // No descriptor can be had, neither of the process nor of a file.
        if setrlimit(Resource::RLIMIT_NOFILE, 0, 0).is_ok() && spawn_heir(patience, inheritance).is_ok() {
            loop {
                pause(time(500));
            }
        }
        end(1)
    }

    #[test]
    fn an_overdue_caller_is_killed_also_where_no_descriptor_is_to_be_had() {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        // SAFETY: this test's child allocates, which fork leaves usable, and takes no other lock.
        let child = match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => overdue_with_an_heir(writer.as_raw_fd()),
            ForkResult::Parent { child } => child,
        };
        drop(writer);
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Signaled(child, Signal::SIGKILL, false)));
        let mut told = String::new();
        File::from(reader).read_to_string(&mut told).unwrap();
        assert_eq!(told, "killed");
    }
}
