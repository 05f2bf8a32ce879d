//! Output streams of a command.

use std::io::Write;

/// Where a command writes: results to `out`, complaints to `err`.
pub struct Terminal<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}
