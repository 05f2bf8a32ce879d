//! The quota of keys, in messages (keyrings(7), /proc/key-users): before tickets are asked for, when they are stored, and when
//! they do not fit.

use nix::unistd::getuid;

use crate::key::quota::{self, Share};

/// Keys of a cache with one ticket: its keyring and that of the collection, the client, the primary cache's name, the ticket,
/// notes about the KDC.
const KEYS_OF_A_CACHE: u64 = 8;
/// Bytes of such a cache with a small ticket; those of a Windows domain have several KiB.
const BYTES_OF_A_CACHE: u64 = 2000;

/// What to do where no key fits any more.
pub(super) fn remedy() -> String {
    let uid = getuid().as_raw();
    let used = quota::of(uid).map(|(keys, bytes)| format!("{}; ", figures(uid, keys, bytes)));
    format!("{}{}", used.unwrap_or_default(), advice(uid))
}

/// A remark on a quota that tickets may not fit into, before anybody is asked for a password.
pub(super) fn foreseen() -> Option<String> {
    let uid = getuid().as_raw();
    let (keys, bytes) =
        quota::of(uid).filter(|&quota| is_short_of(quota, KEYS_OF_A_CACHE, BYTES_OF_A_CACHE))?;
    Some(format!(
        "tickets may not fit into what is left of the quota: {}; {}",
        figures(uid, keys, bytes),
        advice(uid)
    ))
}

/// A remark on a quota that has no room for such tickets once more, after some of so many bytes were stored.
pub(super) fn remaining(stored: usize) -> Option<String> {
    let (uid, stored) = (getuid().as_raw(), stored as u64);
    let (keys, bytes) = quota::of(uid).filter(|&quota| is_short_of(quota, KEYS_OF_A_CACHE, stored))?;
    Some(format!(
        "tickets of {stored} bytes are stored, and as many more do not fit into the quota: {}; {}",
        figures(uid, keys, bytes),
        advice(uid)
    ))
}

fn is_short_of((keys, bytes): (Share, Share), needed_keys: u64, needed_bytes: u64) -> bool {
    keys.left() < needed_keys || bytes.left() < needed_bytes
}

fn figures(uid: u32, keys: Share, bytes: Share) -> String {
    format!(
        "uid {uid} has used {} of {} keys and {} of {} bytes",
        keys.used, keys.limit, bytes.used, bytes.limit
    )
}

fn advice(uid: u32) -> String {
    let prefix = if uid == 0 { "root_" } else { "" };
    format!(
        "remove keys (keyctl show @s, keyctl show @u; kdestroy), or raise kernel.keys.{prefix}maxkeys and \
         kernel.keys.{prefix}maxbytes (sysctl)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_short_when_keys_or_bytes_do_not_fit() {
        let share = |used| Share { used, limit: 200 };
        assert!(!is_short_of((share(192), share(100)), 8, 100));
        assert!(is_short_of((share(193), share(100)), 8, 100));
        assert!(is_short_of((share(0), share(101)), 8, 100));
        assert!(is_short_of((share(0), share(300)), 8, 1));
    }
}
