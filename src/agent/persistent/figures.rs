//! What the kernel says about keys in /proc, read where the agent can no longer open files.
//!
//! Opened before the agent is confined. Invariant: without these files all works the same, with fewer words.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::key::quota;

/// How long a persistent keyring lives after its last use, in seconds.
const EXPIRY: &str = "/proc/sys/kernel/keys/persistent_keyring_expiry";
/// The kernel's default for it.
const DEFAULT_EXPIRY: u64 = 3 * 24 * 3600;
/// Most of the file about quotas that is read, in bytes.
const USERS_LIMIT: usize = 64 * 1024;

/// Quotas and times of keys.
#[derive(Debug)]
pub(super) struct KeyFigures {
    users: Option<File>,
    expiry: Duration,
}

impl KeyFigures {
    /// Opens what is there.
    pub(super) fn open() -> Self {
        let expiry = std::fs::read_to_string(EXPIRY).ok();
        let expiry = expiry.and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_EXPIRY);
        Self { users: File::open(quota::USERS).ok(), expiry: Duration::from_secs(expiry) }
    }

    /// How long a persistent keyring lives after its last use.
    pub(super) fn expiry(&self) -> Duration {
        self.expiry
    }

    /// What is to be done where a user's keys are too many.
    pub(super) fn remedy(&self, uid: u32) -> String {
        let shares = self.users.as_ref().and_then(|users| {
            let mut text = vec![0; USERS_LIMIT];
            let mut length = 0;
            while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
                match users.read_at(rest, u64::try_from(length).ok()?) {
                    Ok(0) => break,
                    Ok(more) => length += more,
                    Err(_) => return None,
                }
            }
            quota::among(&String::from_utf8_lossy(text.get(..length)?), uid)
        });
        quota::remedy(uid, shares)
    }
}
