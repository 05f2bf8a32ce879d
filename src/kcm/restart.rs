//! A restart without loss: the keeper executes the program's present file, and hands on the socket and all doors, as a service
//! manager would.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::WaitStatus;
use nix::unistd::{dup2_stdout, pipe2, read};

use super::launch::NOT_STARTED;
use super::manager;
use super::options::{KcmOptions, RESTARTED, TRIED};
use crate::sys::exec::{Execution, NotExecuted};
use crate::sys::files::{Untrusted, open_trusted};
use crate::sys::fork::{ForkResult, fork};
use crate::sys::kept_setuid::hand_on_setuid;
use crate::sys::process::{Process, end, reset_inherited};
use crate::text::escaped;

/// How long the program may take to look whether it could start.
const TRIAL: Duration = Duration::from_secs(5);

/// What is handed on.
#[derive(Debug)]
pub(super) struct Legacy<'a> {
    pub options: &'a KcmOptions,
    pub listener: BorrowedFd<'a>,
    pub doors: &'a BTreeMap<u32, OwnedFd>,
}

/// Why the program goes on as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRestarted {
    #[error("not restarted: {0}")]
    Program(#[from] Untrusted),
    #[error("not restarted: {0} cannot be executed")]
    NotExecutable(PathBuf),
    #[error("not restarted: {0}")]
    Refused(String),
    #[error(
        "not restarted: the service manager takes no messages, and would keep doors that are closed; try again"
    )]
    ManagerBusy,
    #[error("not restarted: the program did not do as it should when it was tried: {0}")]
    Trial(String),
    #[error("not restarted: {0}")]
    Kernel(#[from] Errno),
}

/// The program's present file, which could take our place: it has been tried.
///
/// # Errors
/// [`NotRestarted`].
pub(super) fn successor(program_file: &Path, legacy: &Legacy<'_>) -> Result<OwnedFd, NotRestarted> {
    let program: OwnedFd = open_trusted(program_file, OFlag::O_PATH)?.into();
    let copy = program.try_clone().map_err(|_| Errno::EMFILE)?;
    let not_executable = || NotRestarted::NotExecutable(program_file.to_owned());
    try_out(copy, legacy).map_err(|why| why.unwrap_or_else(not_executable))?;
    Ok(program)
}

/// Executes it.
///
/// # Errors
/// [`NotRestarted`]; then everything is as before. If the kernel does not execute at last what it has executed before, this process
/// ends.
pub(super) fn restart(program: OwnedFd, legacy: &Legacy<'_>) -> Result<Infallible, NotRestarted> {
    let (argv, environment) = (legacy.command_line(RESTARTED)?, legacy.environment()?);
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    let descriptors = legacy.descriptors()?;
    hand_on_setuid()?;
    let execution =
        Execution { program, name: "lgss_kcm", argv: &argv, environment: &environment, descriptors };
    // By then there is nothing left to go on with; a service manager sees the status.
    execution.run([], |[], _: &str, _: NotExecuted| {})
}

/// Has a child execute the program, which looks whether it could start ([`TRIED`]), and says on its standard output why not. The
/// reason is missing if it could not be executed.
fn try_out(program: OwnedFd, legacy: &Legacy<'_>) -> Result<(), Option<NotRestarted>> {
    let failed = |errno| Some(NotRestarted::Kernel(errno));
    let argv = legacy.command_line(TRIED).map_err(failed)?;
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let (said, says) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(failed)?;
    let child = match fork().map_err(failed)? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            reset_inherited();
            if dup2_stdout(&says).is_err() {
                end(NOT_STARTED)
            }
            let execution = Execution {
                program,
                name: "lgss_kcm",
                argv: &argv,
                environment: &[],
                descriptors: Vec::new(),
            };
            execution.run([], |[], _: &str, _: NotExecuted| end(NOT_STARTED))
        }
    };
    drop(says);
    let process = Process::of_child(child).map_err(failed)?;
    if !process.wait_for_end(TRIAL) {
        let _ = process.kill();
        process.wait_for_end(TRIAL);
    }
    match process.ended() {
        Some(WaitStatus::Exited(_, 0)) => Ok(()),
        Some(WaitStatus::Exited(_, NOT_STARTED)) => Err(None),
        Some(WaitStatus::Exited(_, status)) => {
            let mut text = vec![0; 1000];
            let length = read(&said, &mut text).unwrap_or(0);
            let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
            Err(Some(match text.trim() {
                "" => NotRestarted::Trial(format!("status {status}")),
                reason => NotRestarted::Refused(escaped(reason).into_owned()),
            }))
        }
        other => Err(Some(NotRestarted::Trial(format!("{other:?}")))),
    }
}

impl Legacy<'_> {
    fn command_line(&self, last: &str) -> Result<Vec<CString>, Errno> {
        let words = self.options.words.iter().cloned();
        let all = [OsString::from("lgss_kcm")].into_iter().chain(words).chain([last.into()]);
        all.map(|text| CString::new(text.into_vec()).map_err(|_| Errno::EINVAL)).collect()
    }

    fn environment(&self) -> Result<Vec<CString>, Errno> {
        let names = self.doors.keys().map(|&uid| manager::name(uid));
        let names: Vec<String> = ["socket".to_owned()].into_iter().chain(names).collect();
        let manager = std::env::var("NOTIFY_SOCKET").ok().map(|socket| format!("NOTIFY_SOCKET={socket}"));
        let variables = [
            format!("LISTEN_PID={}", std::process::id()),
            format!("LISTEN_FDS={}", names.len()),
            format!("LISTEN_FDNAMES={}", names.join(":")),
        ];
        let all = variables.into_iter().chain(manager);
        all.map(|text| CString::new(text).map_err(|_| Errno::EINVAL)).collect()
    }

    /// Copies, in the order of their names.
    fn descriptors(&self) -> Result<Vec<OwnedFd>, Errno> {
        let all = [self.listener].into_iter().chain(self.doors.values().map(AsFd::as_fd));
        all.map(|descriptor| descriptor.try_clone_to_owned().map_err(|_| Errno::EMFILE)).collect()
    }
}
