//! Rules for files (landlock(7)), of the processes that confine themselves.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};

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

/// The version of Landlock that this kernel enforces: 0 without it, and of versions beyond 6, whose further rights no process of
/// ours uses, 6.
pub(crate) fn enforced_version() -> u8 {
    let strictly = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let files = |version| strictly().handle_access(AccessFs::from_all(version)).is_ok();
    let of_each = [
        (1, files(ABI::V1)),
        (2, files(ABI::V2)),
        (3, files(ABI::V3)),
        (4, strictly().handle_access(AccessNet::from_all(ABI::V4)).is_ok()),
        (5, files(ABI::V5)),
        (6, strictly().scope(Scope::from_all(ABI::V6)).is_ok()),
    ];
    of_each.into_iter().take_while(|(_, enforced)| *enforced).map(|(version, _)| version).last().unwrap_or(0)
}

/// Whether the path would have been opened if this process or the machine had not lacked something.
fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}
