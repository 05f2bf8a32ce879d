//! Lines on standard error beside the work: what somebody should know, and what was done.

use std::fmt::Display;
use std::io::Write;

use crate::terminal;

/// Writes a line with the program's name before it.
pub(super) fn remark(err: &mut dyn Write, what: impl Display) {
    terminal::remark::remark("lgss_sk", err, what);
}
