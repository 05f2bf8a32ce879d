//! Finds out whether a requester's /tmp is not the host's, as in containers and services with PrivateTmp: it lacks
//! the caches that kinit has put into the host's.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::stat::{fstat, stat};

use crate::creds::source::{Defect, Source, SourceHandle, SourceRole};
use crate::sys::files::{locate_below, lossy_text};

const TMP: &str = "/tmp";
/// Prefixes of the names of caches in /tmp.
const CACHES: [&str; 2] = ["FILE:/tmp/", "DIR:/tmp"];
/// Added to the objection, in the log and in `lgss caches`.
const NOTE: &str = " (its /tmp is not the host's)";

/// Whether a cache in /tmp is missing, which another /tmp would explain.
pub(super) fn is_missing_there(source: &Source) -> bool {
    let SourceHandle::Nothing(place) = &source.handle else { return false };
    source.role == SourceRole::Unfit(Defect::Absent) && CACHES.iter().any(|caches| place.starts_with(caches))
}

/// Adds the note to caches that are missing in /tmp, if /tmp is not the host's; `root` is the requester's.
pub(super) fn add_note(root: BorrowedFd<'_>, sources: &mut [Source]) {
    if is_own(root) {
        sources
            .iter_mut()
            .filter(|source| is_missing_there(source))
            .for_each(|source| source.display.push_str(NOTE));
    }
}

/// Whether the requester's /tmp is not the host's; false if that cannot be found out.
fn is_own(root: BorrowedFd<'_>) -> bool {
    let theirs = locate_below(root, Path::new(TMP)).and_then(|tmp| fstat(tmp.as_fd()));
    match (theirs, stat(TMP)) {
        (Ok(theirs), Ok(ours)) if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino) => true,
        // Our own /tmp may differ from the first process's, if a user runs `lgss caches`.
        (Ok(_), Ok(_)) => {
            let of = |process: &str| lossy_text(format!("/proc/{process}/mountinfo")).ok();
            let (own, first) = (of("self"), of("1"));
            own.is_some() && first.is_some() && own.as_deref().map(place) != first.as_deref().map(place)
        }
        _ => false,
    }
}

/// The file system of /tmp, and the directory on it (proc_pid_mountinfo(5)). Later mounts cover earlier ones.
pub(super) fn place(mounts: &str) -> Option<(&str, String)> {
    let field = |line: &'_ str, number: usize| line.split(' ').nth(number).map(str::to_owned);
    let covering = |point: &str| mounts.lines().rev().find(|line| field(line, 4).as_deref() == Some(point));
    let (line, rest) = covering(TMP).map(|line| (line, "")).or_else(|| Some((covering("/")?, TMP)))?;
    let root = field(line, 3)?;
    Some((line.split(' ').nth(2)?, format!("{}{rest}", root.trim_end_matches('/'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_tmp_is_another_directory_or_another_file_system() {
        let host = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(place(host), Some(("8:1", "/tmp".to_owned())));
        let of_a_service = "90 1 8:1 / / rw - ext4 /dev/sda1 rw\n91 90 8:1 /tmp/systemd-private-1-x/tmp /tmp rw - ext4 /dev/sda1 rw\n";
        assert_ne!(place(of_a_service), place(host));
        let tmpfs = "90 1 8:1 / / rw - ext4 /dev/sda1 rw\n91 90 0:44 / /tmp rw - tmpfs tmpfs rw\n";
        assert_ne!(place(tmpfs), place(host));
        let unshared = "190 101 8:1 / / rw - ext4 /dev/sda1 rw\n";
        assert_eq!(place(unshared), place(host));
        assert_eq!(place(""), None);
    }
}
