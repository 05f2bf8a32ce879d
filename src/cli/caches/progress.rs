//! Progress of a search in another process: where it was when it had to be given up.
//!
//! By a pipe: the search writes 0 for each place that it begins with ([`crate::creds::search::SearchProgress`]), then
//! 1 and the name of each cache before that is read, and 2 when it is done with all of them.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::sys::process::readable;

/// Most bytes read: names of several hundred caches.
const PROGRESS_BYTES: usize = 1024 * 1024;
const CACHE: u8 = 1;
const DONE: u8 = 2;

/// Where the search was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// At this place, by the order of the search.
    Place(usize),
    /// Reading this cache.
    Cache(String),
    /// Before or after all of these.
    Elsewhere,
}

/// Reports that this cache is read next.
pub(super) fn begin_cache(watcher: BorrowedFd<'_>, name: &str) {
    report(watcher, &[&[CACHE], name.as_bytes()].concat());
}

/// Reports that no further cache is read.
pub(super) fn done(watcher: BorrowedFd<'_>) {
    report(watcher, &[DONE]);
}

/// Writes without an error: a pipe that is full, or that nobody reads, only loses reports.
fn report(watcher: BorrowedFd<'_>, bytes: &[u8]) {
    let _ = nix::unistd::write(watcher, bytes);
}

/// Where the search is, by the reports so far.
pub(super) fn read(mut pipe: PipeReader) -> io::Result<At> {
    let mut reports = Vec::new();
    let mut part = [0; 4096];
    while reports.len() < PROGRESS_BYTES && !readable(&[((), pipe.as_fd())], Instant::now())?.is_empty() {
        match pipe.read(&mut part)? {
            0 => break,
            length => reports.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    Ok(at(&reports))
}

pub(super) fn at(reports: &[u8]) -> At {
    if reports.last() == Some(&DONE) {
        return At::Elsewhere;
    }
    match reports.iter().rposition(|&byte| byte == CACHE) {
        Some(last) => {
            let name = reports.get(last + 1..).unwrap_or_default();
            At::Cache(String::from_utf8_lossy(name).into_owned())
        }
        None => reports.len().checked_sub(1).map_or(At::Elsewhere, At::Place),
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
            report(writer.as_fd(), told);
            assert_eq!(read(reader).unwrap(), is, "{told:?}");
        }
    }
}
