//! Files of ours below the run directory that nobody may need any more: which there are, how old they are, and their
//! removal, which leaves alone what is in use.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use crate::sys::locks::LockFile;

/// Most names of a directory that are examined in one go.
const NAMES_LIMIT: usize = 4096;

/// The names in a directory of ours.
pub(super) fn names(directory: &OwnedFd) -> Vec<String> {
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let names = entries.take(NAMES_LIMIT).filter_map(Result::ok).map(|entry| entry.file_name());
    names.filter_map(|name| std::str::from_utf8(name.as_bytes()).ok().map(str::to_owned)).collect()
}

/// Removes a file whose time is over, unless somebody uses it; returns whether it did.
pub(super) fn remove(directory: &OwnedFd, name: &str, file: &LockFile) -> bool {
    file.remove(directory.as_fd(), name) == Ok(true)
}

/// Whether it was changed longer ago than that.
pub(super) fn is_older(file: &LockFile, age: Duration) -> bool {
    let modified = file.file().metadata().and_then(|metadata| metadata.modified());
    let since = modified.map(|modified| SystemTime::now().duration_since(modified).unwrap_or(age));
    since.is_ok_and(|since| since >= age)
}
