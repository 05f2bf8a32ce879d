//! The quota of keys, in a message (keyrings(7), /proc/key-users).

use nix::unistd::getuid;

use crate::key::quota;

/// What to do where no key fits any more.
pub(super) fn remedy() -> String {
    let uid = getuid().as_raw();
    quota::remedy(uid, quota::of(uid))
}
