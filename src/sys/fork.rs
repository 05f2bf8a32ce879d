//! fork(2), and variants whose child is confined.
//!
//! Called by the monitor, by `lgss`, by the self-check of `lgss_keyring`, by `lgss_kcm` and by an agent. Invariant: a process
//! forks only while it has one thread, which is checked each time. Otherwise the child could find locks, such as malloc's, held by
//! threads that it does not have.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::raw::c_long;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::stat;
pub(crate) use nix::unistd::ForkResult;
use nix::unistd::Pid;

/// Most time that a joined thread may take to end.
const ENDING_LIMIT: Duration = Duration::from_millis(100);
const TASKS_LOOK: Duration = Duration::from_millis(1);

/// Exit status of a test's child that has come to its end and found all right: no errno, and not 0, with which a child ends whose only
/// thread has panicked.
#[cfg(test)]
pub(crate) const REACHED: i32 = 200;

/// fork(2).
///
/// # Errors
/// EAGAIN at a limit of processes, ENOMEM; EDEADLK if the process has other threads; those of stat(2) without /proc.
pub(crate) fn fork() -> Result<ForkResult, Errno> {
    expect_one_thread()?;
    // SAFETY: there is no other thread, as just checked, and only this one could start another. So the child may do anything.
    // In a unit test there are others: see `expect_one_thread`.
    unsafe { nix::unistd::fork() }
}

/// fork(2) with the child as the first process of a process-id namespace. It sees and signals only its descendants, and they
/// end with it whatever they do.
///
/// # Errors
/// Those of [`fork`]; EPERM without CAP_SYS_ADMIN.
pub(crate) fn fork_confined() -> Result<ForkResult, Errno> {
    let flags = c_long::from(libc::CLONE_NEWPID | libc::SIGCHLD);
    let none = 0 as c_long;
    expect_one_thread()?;
    // SAFETY: without CLONE_VM and a stack this is fork(2), of one thread as above. The C library keeps the parent's thread
    // id. It serves to distinguish owners of locks, for which the old one will do, and to signal oneself, which no child of
    // ours does.
    side(unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) })
}

/// The same with the child started in this directory's cgroup, of version 2 (clone3(2), CLONE_INTO_CGROUP), so that it need
/// not be moved.
///
/// # Errors
/// Those of [`fork_confined`]; ENODEV if the cgroup has been removed, ENOSYS of kernels before 5.7.
pub(crate) fn fork_confined_in(cgroup: BorrowedFd<'_>) -> Result<ForkResult, Errno> {
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: a structure of plain numbers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(libc::CLONE_NEWPID.cast_unsigned()) | INTO_CGROUP;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    let size = size_of_val(&arguments);
    expect_one_thread()?;
    // SAFETY: as above; the structure has the given size, and the child uses a copy of the parent's stack.
    side(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) })
}

fn side(pid: c_long) -> Result<ForkResult, Errno> {
    match Errno::result(pid)? {
        0 => Ok(ForkResult::Child),
        pid => {
            let child = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?);
            Ok(ForkResult::Parent { child })
        }
    }
}

/// Waits until this process has one thread, since a joined one may not have ended completely.
///
/// # Errors
/// EDEADLK if there are others; those of stat(2) without /proc.
pub(super) fn expect_one_thread() -> Result<(), Errno> {
    // The harness runs unit tests in threads. Their children use nothing that another thread may have locked; malloc only after
    // fork(2), for which the C library takes malloc's locks.
    let alone = |threads| threads == 1 || cfg!(test);
    let start = Instant::now();
    while !alone(count_threads()?) {
        if start.elapsed() > ENDING_LIMIT {
            return Err(Errno::EDEADLK);
        }
        sleep(TASKS_LOOK);
    }
    Ok(())
}

/// Counts threads by the link count of their directory, which has a subdirectory for each (proc_pid_task(5)).
fn count_threads() -> Result<libc::nlink_t, Errno> {
    /// The two links of an empty directory.
    const OWN_LINKS: libc::nlink_t = 2;
    Ok(stat("/proc/self/task")?.st_nlink.saturating_sub(OWN_LINKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::sync::mpsc::channel;

    /// A forked process starts with one thread. Its exit status is ten times its count then, plus the count with a second
    /// thread.
    #[test]
    fn a_process_with_a_second_thread_is_told_from_one_without() {
        // SAFETY: this test's child starts a thread, for which it takes no lock but malloc's, which fork leaves usable.
        let child = match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => {
                let alone = count_threads().unwrap_or(0);
                let (stop, stopped) = channel::<()>();
                let second = std::thread::spawn(move || stopped.recv().is_ok());
                let accompanied = count_threads().unwrap_or(0);
                drop((stop, second));
                crate::sys::process::end(i32::try_from(10 * alone + accompanied).unwrap_or(0))
            }
            ForkResult::Parent { child } => child,
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 12)));
    }
}
