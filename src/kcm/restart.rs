//! A restart without loss: the keeper executes the program's present file, and hands on the socket and all doors, as a service
//! manager would.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};

use super::manager;
use super::options::{KcmOptions, RESTARTED};
use crate::identity::system_user::{SystemUserError, find};
use crate::sys::exec::{Execution, NotExecuted};
use crate::sys::files::{Untrusted, open_trusted};
use crate::sys::kept_setuid::hand_on_setuid;

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
    #[error("not restarted: {0}: not executable")]
    NotExecutable(PathBuf),
    #[error("not restarted: agent: {0}")]
    Agent(Untrusted),
    #[error("not restarted: {0}")]
    User(#[from] SystemUserError),
    #[error("not restarted: {0}")]
    Kernel(#[from] Errno),
}

/// Executes the program.
///
/// # Errors
/// [`NotRestarted`]; then everything is as before. If the kernel does not execute the program at last, this process ends, and so does
/// a program that cannot start: what most often keeps it from that is looked at here.
pub(super) fn restart(program_file: &Path, legacy: &Legacy<'_>) -> Result<Infallible, NotRestarted> {
    let program = open_trusted(program_file, OFlag::O_PATH)?.into();
    if access(program_file, AccessFlags::X_OK).is_err() {
        return Err(NotRestarted::NotExecutable(program_file.to_owned()));
    }
    open_trusted(&legacy.options.agent, OFlag::O_PATH).map_err(NotRestarted::Agent)?;
    find(&legacy.options.user)?;
    let (argv, environment) = (legacy.command_line()?, legacy.environment()?);
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    let descriptors = legacy.descriptors()?;
    hand_on_setuid()?;
    let execution =
        Execution { program, name: "lgss_kcm", argv: &argv, environment: &environment, descriptors };
    // By then there is nothing left to go on with; a service manager sees the status.
    execution.run([], |[], _: &str, _: NotExecuted| {})
}

impl Legacy<'_> {
    fn command_line(&self) -> Result<Vec<CString>, Errno> {
        let words = self.options.words.iter().cloned();
        let all = [OsString::from("lgss_kcm")].into_iter().chain(words).chain([RESTARTED.into()]);
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
