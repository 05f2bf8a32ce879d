//! Root's default cache and the contents of root's caches. Their reader is another user, who can be given bytes but
//! no file or keyring of root's.

use std::fmt::Display;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use zeroize::Zeroizing;

use super::cache_name::{CacheName, CacheNameError};
use super::default_cache::{TokenValues, default_cache_name};
use super::keyring_copy;
use super::limits::CACHE_BYTES;
use super::open::{CachePolicy, OpenedCache};
use crate::event::{Cause, Failure, Stage};
use crate::sys::files;

/// Name of root's default cache by this krb5.conf.
///
/// # Errors
/// [`Failure`] with `BadCache`.
pub(crate) fn default_cache(krb5_config: &Path) -> Result<CacheName, Failure> {
    let bad = |error: &dyn Display| Failure::new(Stage::Credentials, Cause::BadCache, error);
    let name = default_cache_name(krb5_config, TokenValues::numbered(0)).map_err(|error| bad(&error))?;
    name.parse().map_err(|error: CacheNameError| bad(&error))
}

/// Copies a cache of root's. A KCM cache cannot be copied: the daemon gives it to root only.
///
/// # Errors
/// [`Failure`] of the stage `Credentials`.
pub(crate) fn copy(policy: CachePolicy<'_>, name: &CacheName) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |cause, errno: Errno| {
        Failure::new(Stage::Credentials, cause, format_args!("{}: {}", name.shown(), errno.desc()))
    };
    match policy.open(name)? {
        OpenedCache::File(located) => {
            let limit = usize::try_from(CACHE_BYTES).unwrap_or(usize::MAX);
            files::read_located(located.as_fd(), limit).map_err(|e| failed(Cause::BadCache, e))
        }
        OpenedCache::Named(CacheName::Keyring { anchor, residual, collection }) => {
            keyring_copy::copy(anchor, &collection, &residual).map_err(|errno| match errno {
                Errno::ENOKEY => failed(Cause::NoTicket, errno),
                _ => failed(Cause::BadCache, errno),
            })
        }
        OpenedCache::Named(_) => {
            let detail = format_args!(
                "{}: for requests of root FILE, DIR and KEYRING caches can be used",
                name.shown()
            );
            Err(Failure::new(Stage::Credentials, Cause::BadCache, detail))
        }
    }
}
