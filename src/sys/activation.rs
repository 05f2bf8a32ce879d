//! Descriptors that a service manager passes to a program that it starts (sd_listen_fds(3)).
//!
//! Inherited ones lack close-on-exec, which every descriptor that this program opens itself has. So the two kinds cannot be
//! confused, and none can be taken twice.

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first descriptor passed.
const FIRST: RawFd = 3;
/// More are not believed: Linux's own limit of open files.
const GREATEST_COUNT: RawFd = 1 << 20;

/// A descriptor that was passed, with its name.
#[derive(Debug)]
pub(crate) struct Handed {
    /// FDNAME of the socket unit or of the stored descriptor; empty if none was given.
    pub name: String,
    /// Closed on exec.
    pub descriptor: OwnedFd,
}

/// Takes the descriptors that were passed to this process, and closes all others that it was started with but the standard ones.
pub(crate) fn take() -> Vec<Handed> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let mine = variable("LISTEN_PID").parse() == Ok(std::process::id());
    let count = variable("LISTEN_FDS").parse().ok().filter(|count| (1..=GREATEST_COUNT).contains(count));
    let end = FIRST + count.filter(|_| mine).unwrap_or(0);
    let names = variable("LISTEN_FDNAMES");
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
    let handed = (FIRST..end).zip(names);
    let handed = handed.filter_map(|(number, name)| Some(Handed { name, descriptor: inherited(number)? }));
    let handed = handed.collect();
    open_now().into_iter().filter(|&number| number >= FIRST).for_each(|number| drop(inherited(number)));
    handed
}

/// The numbers of all open descriptors, and perhaps of one that is closed again.
fn open_now() -> BTreeSet<RawFd> {
    let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Takes the descriptor if it is open and was inherited, and marks it.
fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: borrowed only to look at and mark it. If it is not open, the calls just fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = FdFlag::from_bits_retain(fcntl(borrowed, FcntlArg::F_GETFD).ok()?);
    if flags.contains(FdFlag::FD_CLOEXEC) {
        return None;
    }
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: open and inherited, as just checked, so no other part of this program owns it; now marked, so taken only once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
