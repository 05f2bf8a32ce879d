//! The contents of root's own cache: whoever reads it is another user and can be given bytes, but nothing of root's.

use std::os::fd::AsFd;

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::cache_name::CacheName;
use super::keyring_copy;
use super::open::{Ground, Opened};
use crate::event::{Cause, Failure, Stage};
use crate::sys::files;

/// Largest cache that is copied, in bytes.
const COPY_LIMIT: usize = 16 * 1024 * 1024;

/// Copies root's cache. A daemon's cannot be had that way: it answers root itself only.
///
/// # Errors
/// [`Failure`] of the stage `Credentials`.
pub fn copy(ground: Ground<'_>, name: &CacheName) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |cause, errno: Errno| {
        Failure::new(Stage::Credentials, cause, format_args!("{}: {}", name.shown(), errno.desc()))
    };
    match ground.open(name)? {
        Opened::File(located) => {
            files::read_located(located.as_fd(), COPY_LIMIT).map_err(|e| failed(Cause::BadCache, e))
        }
        Opened::Named(CacheName::Keyring { anchor, residual, collection }) => {
            keyring_copy::copy(anchor, &collection, &residual).map_err(|errno| match errno {
                Errno::ENOKEY => failed(Cause::NoTicket, errno),
                _ => failed(Cause::BadCache, errno),
            })
        }
        Opened::Named(_) => {
            let detail = format_args!(
                "{}: for requests of root FILE, DIR and KEYRING caches can be used",
                name.shown()
            );
            Err(Failure::new(Stage::Credentials, Cause::BadCache, detail))
        }
    }
}
