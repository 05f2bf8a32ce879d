//! The quota of keys, in messages (keyrings(7), /proc/key-users): before tickets are asked for, when they are stored, and when
//! they do not fit.
//!
//! Used by `kinit`. Invariant: every message has the figures and what to do.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::getuid;

use crate::gss::placing::FREED_LOOK;
use crate::key::quota::{self, Share};

/// How long the kernel may take to free what has just been replaced.
const FREED: Duration = Duration::from_secs(1);

/// What something takes of the quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    keys: u64,
    bytes: u64,
}

/// A cache with one small ticket: its keyring and that of the collection, the client, the primary cache's name, the ticket, notes
/// about the KDC. Tickets of a Windows domain have several KiB.
pub(super) const OF_A_CACHE: Need = Need { keys: 8, bytes: 2000 };
/// A small ticket alone.
pub(super) const OF_A_KEY: Need = Need { keys: 1, bytes: 1000 };

/// What to do where no key fits any more.
pub(super) fn remedy() -> String {
    let uid = getuid().as_raw();
    quota::remedy(uid, quota::of(uid))
}

/// A remark on a quota that tickets may not fit into, before anybody is asked for a password.
pub(super) fn foreseen(need: Need) -> Option<String> {
    let uid = getuid().as_raw();
    let shares = quota::of(uid).filter(|&shares| need.exceeds(shares))?;
    let remedy = quota::remedy(uid, Some(shares));
    Some(format!("tickets may not fit into what is left of the quota: {remedy}"))
}

/// A remark on a quota that has no room for such tickets once more, after some of so many bytes were stored.
pub(super) fn remaining(stored: usize) -> Option<String> {
    let (uid, begun) = (getuid().as_raw(), Instant::now());
    let need = Need { bytes: stored as u64, ..OF_A_CACHE };
    loop {
        let shares = quota::of(uid).filter(|&shares| need.exceeds(shares))?;
        if begun.elapsed() > FREED {
            let remedy = quota::remedy(uid, Some(shares));
            return Some(format!(
                "tickets of {stored} bytes are stored, and as many more do not fit into the quota: {remedy}"
            ));
        }
        sleep(FREED_LOOK);
    }
}

impl Need {
    fn exceeds(self, (keys, bytes): (Share, Share)) -> bool {
        keys.left() < self.keys || bytes.left() < self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_short_when_keys_or_bytes_do_not_fit() {
        let (share, need) = (|used| Share { used, limit: 200 }, Need { keys: 8, bytes: 100 });
        assert!(!need.exceeds((share(192), share(100))));
        assert!(need.exceeds((share(193), share(100))));
        assert!(need.exceeds((share(0), share(101))));
        assert!(need.exceeds((share(0), share(300))));
    }
}
