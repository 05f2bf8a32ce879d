//! A new session keyring, and the command or shell that this process becomes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{User, getuid};

use super::failure::KinitFailure;
use crate::sys::keyctl;

/// A shell for who has none.
const SHELL: &str = "/bin/sh";

/// Replaces the session keyring of this process by a new one, to which only its descendants will lead. The user keyring, which
/// all sessions of the user can change, is not linked to it.
///
/// # Errors
/// The kernel's: EDQUOT, EACCES.
pub(super) fn begin() -> Result<(), KinitFailure> {
    keyctl::join_anonymous_session().map(drop).map_err(KinitFailure::Session)
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
    shell.map_or_else(|| OsString::from_vec(SHELL.into()), PathBuf::into_os_string)
}
