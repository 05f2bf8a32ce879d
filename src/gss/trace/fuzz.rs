//! A check for the fuzz targets (docs/fuzzing.md): what is kept of the library's trace. Nothing is put into words here,
//! since that may connect to the addresses of the trace.
#![forbid(unsafe_code)]

use super::{LINES_LIMIT, TRACE_LINE_LIMIT, TraceRecord};

/// A line that holds part of a key.
const KEY_LINE: &str = "[4711] 1764000000.123456: Session key is aes256-cts/0D12";

/// Lines of a trace, with names of KDCs that others have chosen: the record stays small, and no key gets in.
pub fn trace(data: &[u8]) {
    let mut record = TraceRecord::new();
    String::from_utf8_lossy(data).lines().for_each(|line| record.hear(line));
    assert!(record.lines.len() <= LINES_LIMIT);
    assert!(record.lines.iter().all(|line| line.len() <= TRACE_LINE_LIMIT), "{record:?}");
    let before = (record.lines.clone(), record.more);
    record.hear(KEY_LINE);
    assert_eq!((record.lines, record.more), before);
}
