//! Rules for files (landlock(7)), of the processes that confine themselves.

use std::io;
use std::path::Path;

use landlock::{AccessFs, BitFlags, PathBeneath, PathFd, PathFdError, RulesetCreated, RulesetCreatedAttr};

/// Allows `access` to a path and what is below it; only rights that a file can have if it is one. What does not exist, or may
/// not be opened, needs no rule.
///
/// # Errors
/// The library's or the kernel's; EMFILE, ENFILE, ENOMEM; EBADFD for what is on no mounted file system.
pub(crate) fn allow(rules: &mut RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> io::Result<()> {
    let opened = match PathFd::new(path) {
        Ok(opened) => opened,
        Err(PathFdError::OpenCall { source, .. }) if is_want(&source) => return Err(source),
        Err(_) => return Ok(()),
    };
    rules.add_rule(PathBeneath::new(opened, access)).map(drop).map_err(io::Error::other)
}

/// Whether the path would have been opened if this process or the machine had not lacked something.
fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}
