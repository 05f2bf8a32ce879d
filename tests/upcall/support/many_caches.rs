//! A /tmp full of credential caches.

use super::realm::Realm;
use super::site::Site;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Caches of the site's user; removed with the site's uid.
#[derive(Debug)]
pub(crate) struct ManyCaches {
    /// Full names of the caches with a valid ticket, each with a different lifetime, the longest first.
    pub(crate) live: Vec<String>,
}

impl ManyCaches {
    /// Counts: caches with an expired ticket, caches of another user, valid caches. All are files with the same mode,
    /// and their names reveal nothing.
    pub(crate) fn plant(site: &Site, realm: &Realm, counts: [usize; 3]) -> Self {
        let [expired, others, live] = counts;
        let made = |name: &str| site.path("user").join(name);
        realm.expired_ticket(site.uid(), &site.cache("expired"));
        for number in 0..expired {
            copy(&made("expired"), &path(site, number), site.uid());
        }
        realm.ticket_with(site.uid(), &site.cache("others"), &["-l", "23h"]);
        for number in expired..expired + others {
            copy(&made("others"), &path(site, number), site.machine_uid());
        }
        let mut caches: Vec<_> = (0..live).map(|number| (life(number, live), number)).collect();
        for (minutes, number) in &caches {
            let cache = format!("FILE:{}", path(site, expired + others + number).display());
            realm.ticket_with(site.uid(), &cache, &["-l", &format!("{minutes}m")]);
        }
        caches.sort_unstable();
        let name = |number| format!("FILE:{}", path(site, expired + others + number).display());
        Self { live: caches.into_iter().rev().map(|(_, number)| name(number)).collect() }
    }
}

/// The longest is neither the first one made nor the last.
fn life(number: usize, count: usize) -> usize {
    60 + 30 * ((number + count / 3) % count)
}

/// Scattered, so that no directory order is the order of lifetimes.
fn path(site: &Site, number: usize) -> PathBuf {
    let scattered = u32::try_from(number).unwrap().wrapping_mul(2_654_435_761);
    PathBuf::from(format!("{}_{scattered:08x}", site.default_cache().display()))
}

fn copy(from: &Path, to: &Path, owner: u32) {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
    chown(to, Some(owner), Some(owner)).unwrap();
}
