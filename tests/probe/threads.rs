//! Requesters that are threads of a process, and end before it or after its first one.

use crate::become_requester::die_with_parent;
use crate::keys::ReadyRequest;
use crate::plan::Finding;
use nix::unistd::gettid;

/// The key, if there is one, of a request by a thread that has ended on return.
pub(crate) fn request_and_end(ready: &ReadyRequest) -> (Option<i32>, Finding) {
    let asking = || (gettid().as_raw(), ready.make());
    let (tid, result) = std::thread::scope(|scope| scope.spawn(asking).join()).expect("a thread that asks");
    let errno = result.err().map_or(0, |e| e as i32);
    (result.ok(), Finding::RequestedByThread { tid, serial: result.ok(), errno })
}

/// Ends the caller, which is the first thread; the process ends with the thread that does this.
pub(crate) fn go_on_without_the_first(rest: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        die_with_parent();
        rest();
        std::process::exit(0);
    });
    // SAFETY: it ends this thread alone; the other one borrows nothing from it.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
