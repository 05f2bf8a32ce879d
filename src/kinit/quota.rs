//! The quota of keys, in a message (keyrings(7), /proc/key-users).

use nix::unistd::getuid;

use crate::key::quota;

/// What to do where no key fits any more.
pub(super) fn remedy() -> String {
    let uid = getuid().as_raw();
    let prefix = if uid == 0 { "root_" } else { "" };
    let settings = format!("kernel.keys.{prefix}maxkeys and kernel.keys.{prefix}maxbytes (sysctl)");
    let used = quota::of(uid).map(|(keys, bytes)| {
        format!(
            "uid {uid} has used {} of {} keys and {} of {} bytes; ",
            keys.used, keys.limit, bytes.used, bytes.limit
        )
    });
    format!(
        "{}remove keys (keyctl show @s, keyctl show @u; kdestroy), or raise {settings}",
        used.unwrap_or_default()
    )
}
