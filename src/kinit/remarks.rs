//! Words beside the work, on standard error.
//!
//! Used by `kinit` and `holding`.

use std::fmt::Display;
use std::io::Write;

use crate::terminal::remark;

pub(super) const PROGRAM: &str = "lgss_kinit";

/// Writes a line with the program's name before it.
pub(super) fn remark(err: &mut dyn Write, what: impl Display) {
    remark::remark(PROGRAM, err, what);
}
