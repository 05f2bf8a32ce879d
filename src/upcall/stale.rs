//! Files below the run directory that may no longer be needed: their names, their age, and their removal, which spares
//! files in use.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use crate::sys::locks::LockFile;

/// Most names of a directory that are examined at a time.
const NAMES_LIMIT: usize = 4096;

/// The names of the files in a directory.
pub(super) fn names(directory: &OwnedFd) -> Vec<String> {
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let names = entries.take(NAMES_LIMIT).filter_map(Result::ok).map(|entry| entry.file_name());
    names.filter_map(|name| std::str::from_utf8(name.as_bytes()).ok().map(str::to_owned)).collect()
}

/// Removes the file unless it is in use. Returns whether it did.
pub(super) fn remove(directory: &OwnedFd, name: &str, file: &LockFile) -> bool {
    file.remove(directory.as_fd(), name) == Ok(true)
}

/// Whether the file was last changed at least `age` ago.
pub(super) fn is_older(file: &LockFile, age: Duration) -> bool {
    let modified = file.file().metadata().and_then(|metadata| metadata.modified());
    let since = modified.map(|modified| SystemTime::now().duration_since(modified).unwrap_or(age));
    since.is_ok_and(|since| since >= age)
}
