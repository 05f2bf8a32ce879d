//! Root's default cache, and the contents of one of root's: whoever reads it is another user and can be given bytes, but nothing of root's.

use std::fmt::Display;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::cache_name::{CacheName, CacheNameError};
use super::default_cache::{User, default_cache_name};
use super::keyring_copy;
use super::limits::CACHE_BYTES;
use super::open::{Ground, Opened};
use crate::event::{Cause, Failure, Stage};
use crate::sys::files;

/// Root's default cache by this krb5.conf.
///
/// # Errors
/// [`Failure`] with `BadCache`.
pub(crate) fn default_cache(krb5_config: &Path) -> Result<CacheName, Failure> {
    let bad = |error: &dyn Display| Failure::new(Stage::Credentials, Cause::BadCache, error);
    let name = default_cache_name(krb5_config, User::numbered(0)).map_err(|error| bad(&error))?;
    name.parse().map_err(|error: CacheNameError| bad(&error))
}

/// Copies root's cache; not a daemon's, which answers root only.
///
/// # Errors
/// [`Failure`] of the stage `Credentials`.
pub(crate) fn copy(ground: Ground<'_>, name: &CacheName) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |cause, errno: Errno| {
        Failure::new(Stage::Credentials, cause, format_args!("{}: {}", name.shown(), errno.desc()))
    };
    match ground.open(name)? {
        Opened::File(located) => {
            let limit = usize::try_from(CACHE_BYTES).unwrap_or(usize::MAX);
            files::read_located(located.as_fd(), limit).map_err(|e| failed(Cause::BadCache, e))
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
