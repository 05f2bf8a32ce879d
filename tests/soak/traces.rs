//! What requests leave.

use crate::requesters::Requesters;
use crate::support::keys::keys_of;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Growth that is none: records in use at that moment, pages of the kernel's allocator.
const FILES_MARGIN: u64 = 4;
const BYTES_MARGIN: u64 = 64 * 1024;
const OPEN_MARGIN: u64 = 512;
/// In KiB: a fixed part, and a quarter of a page for each request. So a page for each shows from 16 000 requests on, which is
/// what five minutes make; a process, a socket or a keyring for each shows much earlier.
const KERNEL_MARGIN: u64 = 48 * 1024;
const KERNEL_EACH: u64 = 1;
/// How long the kernel may take to collect keys.
const COLLECTED_WITHIN: Duration = Duration::from_secs(20);

/// Counts after a round, when all processes have ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traces {
    /// Of the users.
    keys: u32,
    /// Below the directory of the upcalls.
    files: u64,
    bytes: u64,
    /// Of the whole system.
    open_files: u64,
    /// Memory of the kernel's that it cannot reclaim, in KiB.
    kernel: u64,
}

impl Traces {
    pub(crate) fn of(requesters: &Requesters<'_>) -> Self {
        // Fails if a process of the upcall stays.
        requesters.site.wait_until_idle();
        let keys = || requesters.uids().map(keys_of).sum();
        let start = Instant::now();
        let mut counted: u32 = keys();
        // Each user keeps its two keyrings.
        let lasting = 2 * u32::try_from(requesters.uids().count()).unwrap();
        while counted > lasting && start.elapsed() < COLLECTED_WITHIN {
            std::thread::sleep(Duration::from_millis(50));
            counted = keys();
        }
        assert!(counted <= lasting, "the users have {counted} keys instead of {lasting}");
        let (files, bytes) = size(&requesters.site.path("run"));
        let open = fs::read_to_string("/proc/sys/fs/file-nr").unwrap();
        let open_files = open.split_whitespace().next().unwrap().parse().unwrap();
        Self { keys: counted, files, bytes, open_files, kernel: unreclaimable() }
    }

    /// # Panics
    /// If there is more of something than before.
    pub(crate) fn expect_no_more_than(self, before: Self, requests: usize) {
        let requests = u64::try_from(requests).unwrap();
        assert!(self.keys <= before.keys, "keys: {before} → {self}");
        assert!(self.files <= before.files + FILES_MARGIN, "files: {before} → {self}");
        assert!(self.bytes <= before.bytes + BYTES_MARGIN, "bytes in files: {before} → {self}");
        assert!(self.open_files <= before.open_files + OPEN_MARGIN, "open files: {before} → {self}");
        let kernel = before.kernel + KERNEL_MARGIN + KERNEL_EACH * requests;
        assert!(self.kernel <= kernel, "memory of the kernel: {before} → {self}");
    }
}

impl fmt::Display for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, files, bytes, open_files, kernel } = self;
        write!(
            f,
            "{keys} keys, {files} files with {bytes} bytes, {open_files} open files, {kernel} KiB of the kernel's"
        )
    }
}

/// Number and bytes of the files below a directory.
fn size(directory: &Path) -> (u64, u64) {
    let mut total = (0, 0);
    // Records may go while they are counted.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        let (files, bytes) = if metadata.is_dir() { size(&entry.path()) } else { (1, metadata.len()) };
        total = (total.0 + files, total.1 + bytes);
    }
    total
}

fn unreclaimable() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("SUnreclaim:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
