//! The contents of one of root's keytabs, for a worker that is another user.
//!
//! Read by the upcall for each request of the machine's and by `lgss config check`.

use std::io::{self, Read};
use std::path::Path;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use crate::sys::files::{Untrusted, open_trusted};

/// Largest keytab, in bytes.
const KEYTAB_BYTES: usize = 4 * 1024 * 1024;

/// Reads a keytab that only root may be able to write.
///
/// # Errors
/// [`Untrusted`]: [`Untrusted::Open`] also for a keytab that cannot be read or is too large.
pub(crate) fn read(keytab: &Path) -> Result<Zeroizing<Vec<u8>>, Untrusted> {
    let failed = |error| Untrusted::Open(keytab.to_owned(), error);
    let mut content = Zeroizing::new(Vec::new());
    let file = open_trusted(keytab, OFlag::O_RDONLY)?;
    file.take(KEYTAB_BYTES as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    // Part of one would look like a broken one.
    if content.len() > KEYTAB_BYTES {
        let size = format!("is larger than {} MiB", KEYTAB_BYTES / 1024 / 1024);
        return Err(failed(io::Error::other(size)));
    }
    Ok(content)
}
