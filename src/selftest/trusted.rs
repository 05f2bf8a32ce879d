//! Files that root trusts: checks of the programs that it executes, and remedies where others could change a file.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::OFlag;

use super::finding::Finding;
use crate::sys::files::{Untrusted, open_trusted};
use crate::text::shell_word;

/// Remedy for files that others could change.
pub(crate) const OWNERSHIP: &str =
    "give it and every directory above it to root (chown root), writable by nobody else (chmod go-w)";

/// The same below a directory such as /tmp, which must stay as it is.
const EVERYBODYS: &str = "move the file to a directory that only root can write to, such as /etc/lgss for settings, /usr/sbin for programs";

/// Checks a program that root executes. Returns its mode if all is well, and the finding.
pub(crate) fn program(subject: &'static str, path: &Path, install: &str) -> (Option<u32>, Finding) {
    let file = match open_trusted(path, OFlag::O_PATH) {
        Ok(file) => file,
        Err(error) => return (None, untrusted(subject, &error, install)),
    };
    match file.metadata().map(|metadata| metadata.mode() & 0o7777) {
        Ok(mode) if mode & 0o111 == 0 => {
            let remedy = format!("chmod +x {}", shell_word(path));
            (None, Finding::error(subject, format_args!("{} is not executable", path.display()), remedy))
        }
        Ok(mode) => (Some(mode), Finding::ok(subject, path.display())),
        Err(error) => (None, Finding::error(subject, format_args!("{}: {error}", path.display()), install)),
    }
}

/// A program of ours that gives its rights to whoever starts it. The kernel starts the upcall, and that the worker.
pub(crate) fn set_id(subject: &'static str, path: &Path, mode: u32) -> Option<Finding> {
    (mode & 0o6000 != 0).then(|| {
        Finding::error(
            subject,
            format_args!("{} has mode {mode:04o}: whoever starts it gets its owner's rights", path.display()),
            format_args!("chmod u-s,g-s {}", shell_word(path)),
        )
    })
}

/// The finding about a file that cannot be trusted; `install` is the remedy where it is not there.
pub(crate) fn untrusted(subject: &'static str, error: &Untrusted, install: &str) -> Finding {
    Finding::error(subject, error, remedy(error, install))
}

/// The remedy for a file that cannot be trusted; `install` where it is not there.
pub(crate) fn remedy<'a>(error: &Untrusted, install: &'a str) -> &'a str {
    match error {
        Untrusted::Writable(path) if is_for_everybody(path) => EVERYBODYS,
        Untrusted::Writable(_) => OWNERSHIP,
        Untrusted::Relative(_) => "name it by its whole path, from / on",
        Untrusted::Open(_, error) if error.kind() == ErrorKind::PermissionDenied => "run this as root",
        _ => install,
    }
}

/// A directory that everybody may write to and nobody may remove others' files from.
fn is_for_everybody(path: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    path.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.mode() & STICKY != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_close_a_directory_that_is_everybodys() {
        let of = |path: &str| remedy(&Untrusted::Writable(path.into()), "").to_owned();
        assert!(of("/tmp").starts_with("move the file"), "{}", of("/tmp"));
        assert_eq!(of("/usr"), OWNERSHIP);
    }
}
