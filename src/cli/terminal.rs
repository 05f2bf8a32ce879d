//! What a command writes to.

use std::io::Write;

/// Where a command writes: results to one, complaints to the other.
pub struct Terminal<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}
