//! How far a search in another process has come: what it was at when it had to be given up.
//!
//! By a pipe: the search writes 0 for each place that it begins with ([`crate::creds::search::Pace`]), then 1 and the name of
//! each cache before that is read, and 2 when it is done with all of them.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::sys::process::readable;

/// Most that is read: names of several hundred caches.
const PROGRESS_BYTES: usize = 1024 * 1024;
const CACHE: u8 = 1;
const DONE: u8 = 2;

/// Where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// This place, by the order in which places are looked at.
    Place(usize),
    /// This cache.
    Cache(String),
    /// Before or after these.
    Elsewhere,
}

/// The next cache is read.
pub(super) fn begin_cache(watcher: BorrowedFd<'_>, name: &str) {
    tell(watcher, &[&[CACHE], name.as_bytes()].concat());
}

/// No further cache is read.
pub(super) fn done(watcher: BorrowedFd<'_>) {
    tell(watcher, &[DONE]);
}

/// A pipe that is full, or that nobody reads, loses no more than words about progress.
fn tell(watcher: BorrowedFd<'_>, bytes: &[u8]) {
    let _ = nix::unistd::write(watcher, bytes);
}

/// By what has been written so far.
pub(super) fn read(mut pipe: PipeReader) -> io::Result<At> {
    let mut told = Vec::new();
    let mut part = [0; 4096];
    while told.len() < PROGRESS_BYTES && !readable(&[((), pipe.as_fd())], Instant::now())?.is_empty() {
        match pipe.read(&mut part)? {
            0 => break,
            length => told.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    Ok(at(&told))
}

fn at(told: &[u8]) -> At {
    if told.last() == Some(&DONE) {
        return At::Elsewhere;
    }
    match told.iter().rposition(|&byte| byte == CACHE) {
        Some(last) => {
            let name = told.get(last + 1..).unwrap_or_default();
            At::Cache(String::from_utf8_lossy(name).into_owned())
        }
        None => told.len().checked_sub(1).map_or(At::Elsewhere, At::Place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_last_is_where_it_is() {
        for (told, is) in [
            (&b""[..], At::Elsewhere),
            (b"\0\0", At::Place(1)),
            (b"\0\0\x01FILE:/a", At::Cache("FILE:/a".into())),
            (b"\0\x01FILE:/a\x01KCM:", At::Cache("KCM:".into())),
            (b"\0\x01FILE:/a\x02", At::Elsewhere),
        ] {
            let (reader, writer) = io::pipe().unwrap();
            tell(writer.as_fd(), told);
            assert_eq!(read(reader).unwrap(), is, "{told:?}");
        }
    }
}
