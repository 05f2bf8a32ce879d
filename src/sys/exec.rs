//! execveat(2), and descriptors passed to a program by number.
//!
//! Called by the launcher, by the trial of programs, by a monitor that becomes a teller, by `lgss_kinit` in the background, by
//! `lgss_kcm` and by an agent's starter. Invariant: once descriptors have been overwritten or closed, no handle to any of them is
//! used again; that happens only while the process has one thread, which is checked.

use std::ffi::{CStr, c_long};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, fcntl};

use super::errno::errno_of;
use super::fork::expect_one_thread;
use super::process::end;

/// The first descriptor that a program gets: 0 to 2 stay as they are.
const FIRST: RawFd = 3;

/// A program to be executed, with everything it gets.
#[derive(Debug)]
pub(crate) struct Execution<'a> {
    /// The opened program.
    pub program: OwnedFd,
    /// Its name for reports of a failure.
    pub name: &'a str,
    /// Its words, its name first.
    pub argv: &'a [&'a CStr],
    /// Its environment.
    pub environment: &'a [&'a CStr],
    /// Its descriptors 3, 4, …; all others are closed.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a program does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotExecuted {
    /// Its descriptors could not be put into place, or the process has another thread.
    Descriptors(Errno),
    /// The kernel did not execute it.
    Exec(Errno),
}

impl<'a> Execution<'a> {
    /// Executes it, or calls `report` with `report_to`, the name and the obstacle, and ends. By then the numbers of other
    /// descriptors may refer to something else. So this does not return, and `report` is a plain function, which captures no
    /// descriptors. It must not use global ones either.
    pub(crate) fn run<const N: usize>(
        self,
        report_to: [OwnedFd; N],
        report: fn([OwnedFd; N], &str, NotExecuted),
    ) -> ! {
        let name = self.name;
        match self.prepare(&report_to) {
            // SAFETY: descriptors at the places are not used any more; those used from here on lie above.
            Ok((raised, prepared)) => report(raised, name, NotExecuted::Exec(unsafe { prepared.execute() })),
            Err(errno) => report(report_to, name, NotExecuted::Descriptors(errno)),
        }
        end(1)
    }

    /// The same for what may be a script: it gets itself as its first descriptor, before the others. The kernel gives a script's
    /// interpreter the name `/dev/fd/3`, which has to be there, and refuses a script whose descriptor exec would close.
    pub(crate) fn run_script<const N: usize>(
        mut self,
        report_to: [OwnedFd; N],
        report: fn([OwnedFd; N], &str, NotExecuted),
    ) -> ! {
        match self.program.try_clone() {
            Ok(copy) => self.descriptors.insert(0, copy),
            Err(error) => {
                report(report_to, self.name, NotExecuted::Descriptors(errno_of(&error)));
                end(1)
            }
        }
        let name = self.name;
        match self.prepare(&report_to) {
            Ok((raised, prepared)) => {
                // SAFETY: as above.
                let errno = unsafe { prepared.execute_itself() };
                report(raised, name, NotExecuted::Exec(errno));
            }
            Err(errno) => report(report_to, name, NotExecuted::Descriptors(errno)),
        }
        end(1)
    }

    /// Copies everything, `report_to` included, to descriptors above the places, so that no place overwrites a source.
    fn prepare<const N: usize>(self, report_to: &[OwnedFd; N]) -> Result<([OwnedFd; N], Raised<'a>), Errno> {
        // Another thread could use a descriptor that is being overwritten. No other process has this table of descriptors: who
        // calls this is a child by fork(2), or the whole of its program.
        expect_one_thread()?;
        let count = RawFd::try_from(self.descriptors.len()).map_err(|_| Errno::EMFILE)?;
        let end = FIRST.checked_add(count).ok_or(Errno::EMFILE)?;
        let raised = |fd: BorrowedFd<'_>| -> Result<OwnedFd, Errno> {
            let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(end))?;
            // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
            Ok(unsafe { OwnedFd::from_raw_fd(copy) })
        };
        let program = raised(self.program.as_fd())?;
        let descriptors = self.descriptors.iter().map(|fd| raised(fd.as_fd())).collect::<Result<_, _>>()?;
        let prepared = Raised { program, descriptors, end, argv: self.argv, environment: self.environment };
        let report_to: Vec<_> = report_to.iter().map(|fd| raised(fd.as_fd())).collect::<Result<_, _>>()?;
        // As many as there were.
        Ok((report_to.try_into().map_err(|_| Errno::EMFILE)?, prepared))
    }
}

struct Raised<'a> {
    program: OwnedFd,
    descriptors: Vec<OwnedFd>,
    /// The first descriptor after the places.
    end: RawFd,
    argv: &'a [&'a CStr],
    environment: &'a [&'a CStr],
}

impl Raised<'_> {
    /// # Safety
    /// No handle to a descriptor from 3 up to `end` is used afterwards, not even to close it.
    unsafe fn execute(self) -> Errno {
        // SAFETY: by this function's contract.
        match unsafe { put_into_place(self.descriptors) } {
            Ok(()) => replace(self.program.as_fd(), self.argv, self.environment, self.end),
            Err(errno) => errno,
        }
    }

    /// The same with the program's own descriptor among them, as the first.
    ///
    /// # Safety
    /// That of [`Raised::execute`].
    unsafe fn execute_itself(self) -> Errno {
        // SAFETY: by this function's contract.
        match unsafe { put_into_place(self.descriptors) } {
            Ok(()) => {
                // SAFETY: it was put there just now, and nobody closes it.
                let itself = unsafe { BorrowedFd::borrow_raw(FIRST) };
                replace(itself, self.argv, self.environment, self.end)
            }
            Err(errno) => errno,
        }
    }
}

/// # Safety
/// That of [`Raised::execute`].
unsafe fn put_into_place(descriptors: Vec<OwnedFd>) -> Result<(), Errno> {
    for (copy, place) in descriptors.into_iter().zip(FIRST..) {
        // SAFETY: `copy` is open; by this function's contract, nobody uses what was at `place`.
        Errno::result(unsafe { libc::dup2(copy.into_raw_fd(), place) })?;
    }
    Ok(())
}

/// Executes an opened program that gets no descriptors. Returns the obstacle if that fails; the descriptors are still open
/// then.
pub(crate) fn without_descriptors(program: BorrowedFd<'_>, argv: &[&CStr]) -> Errno {
    replace(program, argv, &[], 0)
}

/// Executes the program with all descriptors from `first` on closed.
fn replace(program: BorrowedFd<'_>, argv: &[&CStr], environment: &[&CStr], first: RawFd) -> Errno {
    // A kernel may not support this, but nearly all descriptors have the flag anyway.
    let _ = close_on_exec_from(first);
    match nix::unistd::execveat(program, c"", argv, environment, AtFlags::AT_EMPTY_PATH) {
        Err(errno) => errno,
    }
}

/// Marks every descriptor from `first` on to be closed by exec (close_range(2)).
///
/// # Errors
/// EINVAL or ENOSYS of kernels before 5.11.
pub(crate) fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: plain numbers; nothing is closed now.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) }).map(drop)
}

/// Closes every descriptor from 3 on but these (close_range(2)). What owns them must not use them any more, as at a program's
/// first step, or in a child that never returns from where it was forked.
///
/// # Errors
/// EDEADLK if this process has another thread; ENOSYS of kernels before 5.9.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    expect_one_thread()?;
    let mut kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    let mut first = FIRST;
    for number in kept.into_iter().filter(|number| *number >= FIRST) {
        if first < number {
            close_range(first, number - 1)?;
        }
        first = number.saturating_add(1);
    }
    close_range(first, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    let (first, last, none) = (c_long::from(first), c_long::from(last), 0 as c_long);
    // SAFETY: plain numbers; by the caller's contract nobody uses what is closed.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, none) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{ForkResult, fork};
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::fs::File;
    use std::io::{Read, Write};

    fn say([told]: [OwnedFd; 1], name: &str, obstacle: NotExecuted) {
        let _ = File::from(told).write_all(format!("{name}: {obstacle:?}").as_bytes());
    }

    /// The text from the pipe that is the program's second descriptor, and that from the pipe for obstacles.
    fn run(program: &str, argv: &[&CStr]) -> (String, String) {
        let program = open(program, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let ((mut out, given), (mut obstacle, told)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        let descriptors = vec![null, given.into()];
        let execution = Execution { program, name: "it", argv, environment: &[], descriptors };
        match fork().unwrap() {
            ForkResult::Child => execution.run([told.into()], say),
            ForkResult::Parent { child } => {
                drop((execution, told));
                let (mut written, mut said) = (String::new(), String::new());
                out.read_to_string(&mut written).unwrap();
                obstacle.read_to_string(&mut said).unwrap();
                nix::sys::wait::waitpid(child, None).unwrap();
                (written, said)
            }
        }
    }

    #[test]
    fn a_program_finds_what_it_is_given_from_3_on_and_nothing_else() {
        let script = c"readlink /proc/self/fd/3 >&4; cd /proc/self/fd && echo * >&4";
        let (written, said) = run("/bin/sh", &[c"sh", c"-c", script]);
        let mut lines = written.lines();
        assert_eq!((lines.next(), said.as_str()), (Some("/dev/null"), ""));
        // The shell has one more for the directory that it lists.
        let open: Vec<_> = lines.next().unwrap().split(' ').filter(|fd| fd.len() == 1).collect();
        assert!(open.starts_with(&["0", "1", "2", "3", "4"]) && open.len() <= 6, "{open:?}");
    }

    #[test]
    fn of_what_cannot_be_executed_is_told_by_the_descriptor_that_is_kept() {
        assert_eq!(run("/dev/null", &[c"null"]), (String::new(), "it: Exec(EACCES)".to_owned()));
    }

    #[test]
    fn what_the_kernel_does_not_close_is_an_error() {
        // As with a kernel that has no such call, and without closing what other tests have open.
        assert_eq!(close_range(4, 3), Err(Errno::EINVAL));
        assert_eq!(close_range(RawFd::MAX, RawFd::MAX), Ok(()));
    }
}
