//! A listening socket at a path, in the place of one that nobody serves any more.
//!
//! Used by `lgss_kcm` and an agent with a socket of its own. Invariant: a socket at which somebody listens is never removed, nor
//! anything that is no socket.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;

use super::errno::errno_of;
use super::files::unpredictable_name;

/// Why there is no socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PlaceTaken {
    /// Somebody listens, or it is a socket of another type.
    InUse,
    /// What is there is no socket.
    NoSocket,
    /// The kernel's reason.
    Kernel(Errno),
}

impl From<io::Error> for PlaceTaken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::AddrInUse => Self::InUse,
            _ => Self::Kernel(errno_of(&error)),
        }
    }
}

/// Listens at a path.
///
/// # Errors
/// [`PlaceTaken`]; what is there stays.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, PlaceTaken> {
    clear(path)?;
    Ok(UnixListener::bind(path)?)
}

/// Removes a socket at which nobody listens. It is taken away first and then looked at again: another program could have put
/// its own there meanwhile.
fn clear(path: &Path) -> Result<(), PlaceTaken> {
    if is_absent(path)? {
        return Ok(());
    }
    let name = unpredictable_name().map_err(PlaceTaken::Kernel)?;
    let aside = path.with_file_name(format!(".lgss-{name}"));
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    let stale = is_absent(&aside);
    if stale.is_err() {
        // Unless there is a new one already.
        let _ = fs::hard_link(&aside, path);
    }
    fs::remove_file(&aside)?;
    stale.map(drop)
}

/// Whether nothing is there; false for a socket at which nobody listens.
fn is_absent(path: &Path) -> Result<bool, PlaceTaken> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Ok(found) if !found.file_type().is_socket() => return Err(PlaceTaken::NoSocket),
        found => found?,
    };
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        // Not to be asked, so not ours.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error.into()),
        // It listens, or is of another type, or its queue is full.
        _ => Err(PlaceTaken::InUse),
    }
}
