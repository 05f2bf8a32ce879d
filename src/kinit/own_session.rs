//! A new session keyring, and the command or shell that this process becomes.
//!
//! Used by `kinit`. Invariant: the command has the environment, limits and descriptors of `lgss_kinit`, and KRB5CCNAME.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::errno::Errno;
use nix::unistd::{User, getuid};

use super::failure::KinitFailure;
use crate::sys::errno::errno_of;
use crate::sys::keyctl;

/// A shell for who has none.
const SHELL: &str = "/bin/sh";
/// For a thread that does nothing.
const SMALL_STACK: usize = 16 * 1024;

/// A session keyring that this process has begun.
pub(super) struct OwnSession(i32);

/// Replaces the session keyring of this process by a new one, to which only its descendants will lead. The user keyring, which
/// all sessions of the user can change, is not linked to it.
///
/// A child that this process had before it became `lgss_kinit` could give it another session, into which the tickets would go
/// (KEYCTL_SESSION_TO_PARENT). The kernel does not do that to a process with several threads, so it has a second one from now on.
///
/// # Errors
/// The kernel's: EDQUOT, EACCES.
pub(super) fn begin() -> Result<OwnSession, KinitFailure> {
    let (told, second) = mpsc::channel();
    let sleep = move || {
        let _ = told.send(());
        loop {
            thread::park();
        }
    };
    let started = thread::Builder::new().stack_size(SMALL_STACK).spawn(sleep);
    started.map_err(|error| KinitFailure::Session(errno_of(&error)))?;
    // It counts as soon as it is there.
    let _ = second.recv();
    keyctl::join_anonymous_session().map(OwnSession).map_err(KinitFailure::Session)
}

impl OwnSession {
    /// # Errors
    /// It is not this process's any more.
    pub(super) fn is_ours(&self) -> Result<(), KinitFailure> {
        match keyctl::keyring_id(keyctl::SESSION_KEYRING) {
            Ok(session) if session == self.0 => Ok(()),
            Ok(_) => Err(KinitFailure::Session(Errno::EPERM)),
            Err(errno) => Err(KinitFailure::Session(errno)),
        }
    }
}

/// Becomes the command, or the user's shell, with this cache in its environment. Returns the obstacle.
pub(super) fn become_command(command: &[OsString], cache: &str) -> KinitFailure {
    let (program, arguments) = match command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => (shell(), &[][..]),
    };
    let error = Command::new(&program).args(arguments).env("KRB5CCNAME", cache).exec();
    KinitFailure::Command { program, error }
}

/// As login(1) finds it, unless the environment has another.
fn shell() -> OsString {
    let of_the_user = || User::from_uid(getuid()).ok().flatten().map(|user| user.shell);
    let named = std::env::var_os("SHELL").map(PathBuf::from).filter(|shell| shell.is_absolute());
    let shell = named.or_else(of_the_user).filter(|shell| shell.is_absolute());
    shell.map_or_else(|| OsString::from(SHELL), PathBuf::into_os_string)
}
