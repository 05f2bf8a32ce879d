//! KRB5CCNAME of a process, by its open `/proc/<pid>/environ` (rule S7).

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

/// So much of an environment is searched, in bytes.
const LIMIT: usize = 256 * 1024;
const VARIABLE: &[u8] = b"KRB5CCNAME=";

/// The value, if there is one that is text.
pub(super) fn cache_name(environment: BorrowedFd<'_>) -> Option<String> {
    let file = File::from(environment.try_clone_to_owned().ok()?);
    let mut content = vec![0; LIMIT];
    let mut length = 0;
    // A read of such a file gives a page at most.
    while let Some(rest) = content.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => length += read,
        }
    }
    let variables = content.get(..length)?.split(|&byte| byte == 0);
    let value = variables.filter_map(|variable| variable.strip_prefix(VARIABLE)).next()?;
    std::str::from_utf8(value).ok().filter(|value| !value.is_empty()).map(str::to_owned)
}
