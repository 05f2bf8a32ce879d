//! Processes that share their maker's memory: an heir, which takes over when its maker has ended, and a guard, which acts
//! only if its maker ends too early.
//!
//! Called by the front for its monitor, and by whoever publishes a key. What they keep to:
//!
//! * While the maker is at work they look, sleep, and change atomics: no heap, and no errno, which is the maker's, too. An
//!   heir whose maker is overdue may set it: it has just rejected the key, and ends the maker next.
//! * When the maker has been killed, it may have been so anywhere, in the middle of an allocation too: the heap may be torn,
//!   and a lock held for ever. First the key is answered, by calls that need numbers and the stack only. What needs
//!   a heap comes after [`super::heap::leave_as_it_is`], and an alarm bounds it.
//! * A guard stands by during two system calls of its maker's, in which that is at no allocation; it does without a heap all
//!   the same.

use std::os::raw::c_long;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Pid, getpid, getppid};

use super::keyctl::{self, RawSerial};
use super::process::{Process, is_runnable};

const SHARED: libc::c_int = libc::CLONE_VM | libc::CLONE_FILES;
/// Stack of a process made by [`spawn_sharing`], in bytes, with a page below that may not be touched.
const SHARING_STACK: usize = 1024 * 1024;
const PAGE: usize = 4096;
/// How long a killed caller may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What an heir's predecessor may take, and what becomes of its key if it takes longer.
#[derive(Debug)]
pub(crate) struct Succession {
    /// Delay before the first check whether it has ended.
    pub first_look: Duration,
    /// How often from then on.
    pub next_look: Duration,
    /// When its key is rejected and it is killed, if something holds it up all that time, but for its first fifth.
    pub limit: Duration,
    /// The same if it only waits for its turn on a busy machine.
    pub busy_limit: Duration,
    /// The key under construction.
    pub key: RawSerial,
    /// The key's error then.
    pub errno: Errno,
    /// And how long it has that.
    pub ttl: Duration,
    /// By which the predecessor may pass its work on.
    pub handover: &'static Handover,
    /// Set by a predecessor while it waits for another process of ours, by a bound of its own.
    pub starved: &'static AtomicBool,
}

/// A predecessor's work, which it may pass on to its heir.
#[derive(Debug, Default)]
pub(crate) struct Handover(AtomicBool);

impl Handover {
    /// Passes it on, and waits until a child has ended, which shall be the heir: all memory is the heir's meanwhile, and
    /// nothing of it is touched here.
    pub(crate) fn pass_on(&self) {
        self.0.store(true, Ordering::Release);
        wait_for_child();
    }
}

/// Waits until a child has ended, and touches no memory meanwhile.
fn wait_for_child() {
    let any = c_long::from(-1);
    loop {
        // SAFETY: null pointers for what is not wanted to be known; the rest are numbers.
        let ended = unsafe {
            libc::syscall(libc::SYS_wait4, any, 0 as c_long, c_long::from(libc::__WALL), 0 as c_long)
        };
        if ended >= 0 || Errno::last() != Errno::EINTR {
            return;
        }
    }
}

/// How an heir's predecessor has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predecessor {
    /// By itself, or by whoever killed it.
    Ended,
    /// Overdue: its key was rejected, and then it was killed.
    Killed,
    /// Not yet: it has passed its work on and only waits for what comes of that, see [`Handover`].
    Waits(Pid),
}

/// Starts a process that takes over the caller's memory and descriptors when the caller has ended (see
/// [`spawn_sharing`]) or passed its work on; until then it only sleeps, and it ends the caller if that takes too long. A
/// caller that even SIGKILL does not end within `KILL_LIMIT` is left alone, its key rejected.
///
/// # Errors
/// EAGAIN, ENOMEM.
pub(crate) fn spawn_heir<T: Sync>(
    patience: Succession,
    entry: fn(&'static T, Predecessor) -> i32,
    argument: &'static T,
) -> Result<(), Errno> {
    struct Heir<T: 'static>(Succession, Pid, fn(&'static T, Predecessor) -> i32, &'static T);
    fn wait<T: Sync>(Heir(patience, caller, entry, argument): &'static Heir<T>) -> i32 {
        let start = Instant::now();
        // Since when it has not run at any look.
        let mut blocked: Option<Instant> = None;
        let look_closely = patience.limit / 5;
        let (mut look, mut looks) = (patience.next_look, 0);
        pause(patience.first_look);
        while getppid() == *caller
            && blocked.is_none_or(|since| since.elapsed() + look_closely < patience.limit)
            && start.elapsed() < patience.busy_limit
        {
            if patience.handover.0.load(Ordering::Acquire) {
                return entry(argument, Predecessor::Waits(*caller));
            }
            pause(look);
            looks += 1;
            if looks > EARLY_LOOKS {
                look = look.saturating_mul(2).min(GUARD_LONGEST_LOOK);
            }
            if start.elapsed() < look_closely {
                continue;
            }
            let busy = patience.starved.load(Ordering::Acquire) || is_runnable(*caller);
            blocked = if busy { None } else { blocked.or_else(|| Some(Instant::now())) };
        }
        let Some(overdue) = Process::open(*caller).ok().filter(|_| getppid() == *caller) else {
            return entry(argument, Predecessor::Ended);
        };
        let _ = keyctl::reject(patience.key, patience.ttl, patience.errno);
        let _ = overdue.kill();
        if overdue.wait_for_end(KILL_LIMIT) { entry(argument, Predecessor::Killed) } else { 1 }
    }
    let heir = Box::leak(Box::new(Heir(patience, getpid(), entry, argument)));
    spawn_sharing(wait, heir)
}

/// Between two looks at a predecessor that takes long: on a busy machine hundreds do so at the same time.
const GUARD_LONGEST_LOOK: Duration = Duration::from_millis(10);
/// So often it is looked at before the pauses grow.
const EARLY_LOOKS: u32 = 8;

/// Starts a process that runs `entry` if the caller ends before it has set `done`, and ends with `done` otherwise.
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
                entry(argument);
                return 0;
            }
        }
    }
    let guard = Box::leak(Box::new(Guard(done, getpid(), entry, argument)));
    spawn_sharing(wait, guard)
}

/// clone(2) with CLONE_VM and CLONE_FILES: a child process that runs `entry(argument)` on a stack of its own in the
/// caller's memory and with its descriptors, and ends with the result as its status. Unlike fork it copies no page
/// tables and leaves no page to be copied later, neither here nor when the caller exits, and what the caller leaves in
/// memory and open needs no message: that is what makes the front fast.
///
/// For this layer alone, because of what `entry` must keep to as long as the caller is at work: allocate nothing, change
/// nothing but atomics, set no errno. The two above do nothing but look, sleep, and end the caller; another one makes calls
/// that set none (lending.rs). A caller that has passed its work on is in one system call that touches none of its memory
/// until the child has ended.
pub(super) fn spawn_sharing<T>(entry: fn(&'static T) -> i32, argument: &'static T) -> Result<(), Errno> {
    struct Start<T: 'static>(fn(&'static T) -> i32, &'static T);
    extern "C" fn start<T: 'static>(start: *mut libc::c_void) -> i32 {
        // SAFETY: `start` is the leaked box below, which nobody changes.
        let Start(entry, argument) = unsafe { &*start.cast::<Start<T>>() };
        entry(argument)
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let stack = unsafe {
        libc::mmap(std::ptr::null_mut(), SHARING_STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    if stack == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let argument = Box::into_raw(Box::new(Start(entry, argument)));
    // SAFETY: the lowest page of our own new mapping. The top of the stack is inside that mapping and aligned, nothing
    // else uses it, and `start` gets the pointer that it expects, valid for ever. What the two processes may do at the
    // same time is said above: until the caller has gone, the child only waits.
    let pid = unsafe {
        libc::mprotect(stack, PAGE, libc::PROT_NONE);
        libc::clone(start::<T>, stack.byte_add(SHARING_STACK), SHARED | libc::SIGCHLD, argument.cast())
    };
    Errno::result(pid).map(drop)
}

/// Sleeps without touching errno, as long as no signal is handled.
pub(super) fn pause(time: Duration) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    // SAFETY: no descriptor is waited for, a time that we own, no signal mask.
    unsafe { libc::ppoll(std::ptr::null_mut(), 0, &raw const time, std::ptr::null()) };
}
