//! How many keys users have, by the kernel's count.

use super::wait::wait_for;
use std::fs;
use std::time::Duration;

/// `_uid.<uid>` and `_uid_ses.<uid>`, which the kernel makes for every requester and keeps.
pub(crate) const USER_KEYRINGS: u32 = 2;

pub(crate) fn keys_of(uid: u32) -> u32 {
    field(uid, 1).split('/').next().and_then(|keys| keys.parse().ok()).unwrap_or(0)
}

/// Of `uid: usage keys/instantiated counted/allowed bytes/allowed` (proc(5)); empty for a user without keys.
fn field(uid: u32, number: usize) -> String {
    let text = fs::read_to_string("/proc/key-users").unwrap();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{uid}:")));
    line.and_then(|line| line.split_whitespace().nth(number)).unwrap_or_default().to_owned()
}

/// Waits until a user has used up no more than half of its quota. A process that init has not reaped yet keeps its keyrings
/// and what they hold, and an init may take seconds for it.
#[track_caller]
pub(crate) fn wait_for_quota(uid: u32) {
    wait_for("half of a user's quota of keys", Duration::from_secs(20), || {
        let [used, allowed] = quota_of(uid);
        (used * 2 <= allowed).then_some(())
    });
}

/// Keys that count against a user's quota, and how many may.
fn quota_of(uid: u32) -> [u32; 2] {
    let counts: Vec<_> = field(uid, 2).split('/').filter_map(|count| count.parse().ok()).collect();
    counts.try_into().unwrap_or([0, 0])
}

/// Waits until a user's sessions have gone, with every key in them.
#[track_caller]
pub(crate) fn wait_until_forgotten(uid: u32) {
    wait_for("the keys of a user to be collected", Duration::from_secs(20), || {
        (keys_of(uid) <= USER_KEYRINGS).then_some(())
    });
}
