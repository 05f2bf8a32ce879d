//! Parameters of Lustre's kernel part that an upcall follows; the monitor reads them. Only root can write these files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::LogLevel;

/// The directories of Lustre's parameters in the versions in use.
const DIRECTORIES: [&str; 4] =
    ["/sys/fs/lustre", "/proc/fs/lustre", "/sys/kernel/debug/lustre", "/sys/kernel/debug/lnet"];

/// The directories, in the order of the search.
pub(super) fn directories() -> Vec<PathBuf> {
    DIRECTORIES.map(PathBuf::from).to_vec()
}

/// How long the kernel waits for a context before it gives up: twice its timeout for a server. Adaptive timeouts
/// (at_min, at_max) are for requests over a connection and do not change this.
pub(super) fn context_limit() -> Option<Duration> {
    read(&directories(), "timeout").map(|seconds| Duration::from_secs(2 * u64::from(seconds)))
}

/// The log level that Lustre's admin has set: 0 errors, 1 warnings, 2 information, 3 and more everything.
pub(super) fn log_level() -> Option<LogLevel> {
    read(&directories(), "sptlrpc/gss/lgss_keyring/debug_level").map(|level| match level {
        0 => LogLevel::Error,
        1 => LogLevel::Warn,
        2 => LogLevel::Info,
        _ => LogLevel::Debug,
    })
}

fn read(directories: &[impl AsRef<Path>], name: &str) -> Option<u32> {
    directories
        .iter()
        .find_map(|directory| fs::read_to_string(directory.as_ref().join(name)).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_that_has_a_number_counts() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["none", "garbage", "good", "later"].map(|name| directory.path().join(name));
        for (path, text) in paths.iter().zip(["", "on\n", "100\n", "7\n"]).skip(1) {
            fs::create_dir(path).unwrap();
            fs::write(path.join("timeout"), text).unwrap();
        }
        assert_eq!(read(&paths, "timeout"), Some(100));
        assert_eq!(read(&paths, "other"), None);
    }
}
