//! Rules for files (landlock(7)), of the processes that confine themselves.

use std::io;
use std::path::Path;

use landlock::{AccessFs, BitFlags, PathBeneath, PathFd, RulesetCreated, RulesetCreatedAttr};

/// Allows `access` to a path and what is below it; only rights that a file can have if it is one. What does not exist, or may
/// not be opened, needs no rule.
///
/// # Errors
/// The library's or the kernel's; EBADFD for what is on no mounted file system.
pub(crate) fn allow(rules: &mut RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> io::Result<()> {
    let Ok(opened) = PathFd::new(path) else { return Ok(()) };
    rules.add_rule(PathBeneath::new(opened, access)).map(drop).map_err(io::Error::other)
}
