//! What commands write to: their output streams, tables and JSON, names of users, and a line on the terminal during a wait.
//!
//! Used by `lgss`, `lgss_sk` and `lgss_kinit`. Invariant: text of others is made fit to be shown before it is written.
#![forbid(unsafe_code)]

pub(crate) mod completion;
pub(crate) mod person;
pub(crate) mod remark;
pub(crate) mod results;
pub(crate) mod wait_line;

use std::io::Write;

/// Where a command writes: results to `out`, complaints to `err`.
pub struct Terminal<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}
