//! Keys whose descriptions look like lines of /proc/keys.

use super::probe::{SESSION_RING, Step};

/// Lines in /proc/keys that imitate the authorisation key of a request by `pid`; their serials, key ids and callout
/// lengths surround those of the next request.
pub(crate) fn look_alikes(uid: u32, pid: u32, length: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for low in 0..12u32 {
        let mut description = b"harmless: 1\n".to_vec();
        for high in 0..16u32 {
            let key = (high << 26) | (low * 0x11_1111);
            let line = format!(
                "{:08x} I--Q---     1 perm 0b0b0000 {uid:5} {uid:5} .request_ key:{key:x} pid:{pid} ci:{length}\n",
                key + 1
            );
            description.extend(line.bytes());
        }
        steps.push(Step::AddKey { description, length: 1, ring: SESSION_RING });
    }
    steps
}
