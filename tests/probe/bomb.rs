//! A fork bomb: processes that fork as often as the kernel lets them, and ask in between.

use crate::become_requester::die_with_parent;
use crate::keys::{self, ReadyRequest};
use crate::plan::{Finding, Request};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, setsid};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What all processes of a bomb have done; in memory that they share.
struct Tally {
    forks: AtomicU64,
    requests: AtomicU64,
    keys: AtomicU64,
    over_quota: AtomicU64,
}

impl Tally {
    fn shared() -> Result<&'static Self, Errno> {
        let (size, protection) = (size_of::<Self>(), libc::PROT_READ | libc::PROT_WRITE);
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at a page's start and of zeros, which are valid counters; it is never removed.
        unsafe {
            let memory = libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0);
            if memory == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(&*memory.cast::<Self>()) }
        }
    }
}

/// Lets at most so many processes of this uid fork and ask for this time, in a session of their own, as a login's are.
/// On return all have ended.
pub(crate) fn explode(request: &Request, processes: u64, within: Duration) -> Result<Finding, Errno> {
    let (tally, end) = (Tally::shared()?, Instant::now() + within);
    setrlimit(Resource::RLIMIT_NPROC, processes, processes)?;
    // SAFETY: no handler. Children end without being waited for, and orphans become ours.
    unsafe {
        signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
        Errno::result(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))?;
        // The probe has only this thread, so the child may do anything.
        if let ForkResult::Child = fork()? {
            die_with_parent();
            let _ = setsid();
            fork_and_ask(request, tally, end);
        }
    }
    // Until there is no child left.
    while waitpid(None, None) != Err(Errno::ECHILD) {}
    let [forks, requests, keys, over_quota] =
        [&tally.forks, &tally.requests, &tally.keys, &tally.over_quota].map(|n| n.load(Ordering::Relaxed));
    Ok(Finding::Exploded { forks, requests, keys, over_quota })
}

/// Every child does the same.
fn fork_and_ask(request: &Request, tally: &Tally, end: Instant) -> ! {
    while Instant::now() < end {
        // SAFETY: there is only this thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => die_with_parent(),
            Ok(ForkResult::Parent { .. }) => {
                tally.forks.fetch_add(1, Ordering::Relaxed);
            }
            // The limit is reached.
            Err(_) => {}
        }
        ask(request, tally);
    }
    std::process::exit(0);
}

/// For a key that nobody has asked for. The one before goes with its session keyring.
fn ask(request: &Request, tally: &Tally) {
    let number = tally.requests.fetch_add(1, Ordering::Relaxed);
    let mut request = request.clone();
    request.description.extend(number.to_string().bytes());
    let key = keys::join_anonymous_session().and_then(|()| ReadyRequest::new(&request).make());
    let counter = match key {
        Ok(_) => &tally.keys,
        Err(Errno::EDQUOT) => &tally.over_quota,
        Err(_) => return,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}
