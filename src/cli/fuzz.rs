//! Checks for the fuzz targets (docs/fuzzing.md): files that the tools look at, and texts of others on a terminal.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::text::{
    cut, escaped, escaped_lines, is_plain, one_line, plain_json, quoted, quoted_path, shell_word,
};

pub use super::caches::fuzz::{mounts, progress};
pub use super::config::fuzz::{key_quotas, patterns, rules};

/// Whatever the text is, what is shown of it is plain, and the same when it is shown again.
pub fn texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let path = Path::new(std::ffi::OsStr::from_bytes(data));
    for shown in [escaped(&text), quoted(&text), one_line(&text).into()] {
        assert!(shown.chars().all(is_plain), "{shown:?}");
        assert_eq!(escaped(&shown), shown);
    }
    for shown in [shell_word(path), quoted_path(path)] {
        assert!(shown.chars().all(is_plain), "{shown:?}");
    }
    assert!(escaped_lines(&text).chars().all(|c| c == '\n' || is_plain(c)));
    for limit in [0, 2, 3, 40] {
        assert!(cut(&text, limit).len() <= limit.max('…'.len_utf8()));
    }
    let Ok(json) = serde_json::to_string(&text) else { return };
    let plain = plain_json(&json);
    assert!(plain.chars().all(is_plain), "{plain:?}");
    assert_eq!(serde_json::from_str::<String>(&plain).ok().as_deref(), Some(&*text));
}
