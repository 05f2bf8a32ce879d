//! KRB5CCNAME of a process, by its open `/proc/<pid>/environ` (rule S7).

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

/// So much of an environment is searched, in bytes.
const LIMIT: usize = 256 * 1024;
/// One page.
const PIECE: usize = 4096;
const VARIABLE: &[u8] = b"KRB5CCNAME=";

/// The value, if there is one that is text.
pub(super) fn cache_name(environment: BorrowedFd<'_>) -> Option<String> {
    let file = File::from(environment.try_clone_to_owned().ok()?);
    let (mut content, mut piece) = (Vec::new(), [0; PIECE]);
    // A read of such a file gives a page at most.
    while content.len() < LIMIT {
        match file.read_at(&mut piece, content.len() as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => content.extend_from_slice(piece.get(..read)?),
        }
    }
    let variables = content.split(|&byte| byte == 0);
    let value = variables.filter_map(|variable| variable.strip_prefix(VARIABLE)).next()?;
    std::str::from_utf8(value).ok().filter(|value| !value.is_empty()).map(str::to_owned)
}
