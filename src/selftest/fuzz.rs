//! A check for the fuzz targets (docs/fuzzing.md): what a worker reports about itself.

use super::trial::report;
use super::worker::of_report;
use crate::config::Config;

/// The report of a worker, which may be another version's.
pub fn worker_report(data: &[u8]) {
    let Some(read) = report(data) else { return };
    let written = serde_json::to_vec(&read).unwrap_or_default();
    assert_eq!(report(&written).as_ref(), Some(&read));
    for finding in of_report(&Config::default(), &read, "/etc/lgss/lgss.toml") {
        assert!(!finding.line().contains(char::is_control), "{finding:?}");
    }
}
