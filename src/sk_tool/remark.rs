//! Lines on standard error beside the work: what somebody should know, and what was done.
//!
//! Invariant: a line that cannot be written, since its reader has gone or the disk is full, stops nothing.

use std::fmt::Display;
use std::io::Write;

/// Writes a line with the program's name before it.
pub(super) fn remark(err: &mut dyn Write, what: impl Display) {
    // There is no way left to report that this fails.
    let _ = writeln!(err, "lgss_sk: {what}");
}
