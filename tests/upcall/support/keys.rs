//! How many keys users have, by the kernel's count.

use super::wait::wait_for;
use std::fs;
use std::time::Duration;

/// From `uid: usage keys/instantiated …` (proc(5)).
pub(crate) fn keys_of(uid: u32) -> u32 {
    let text = fs::read_to_string("/proc/key-users").unwrap();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{uid}:")));
    line.and_then(|line| line.split_whitespace().nth(1)?.split('/').next()?.parse().ok()).unwrap_or(0)
}

/// Waits until a user's sessions have gone, with every key in them.
#[track_caller]
pub(crate) fn wait_until_forgotten(uid: u32) {
    /// `_uid.<uid>` and `_uid_ses.<uid>`, which the kernel makes for every requester and keeps.
    const USER_KEYRINGS: u32 = 2;
    wait_for("the keys of a user to be collected", Duration::from_secs(10), || {
        (keys_of(uid) <= USER_KEYRINGS).then_some(())
    });
}
