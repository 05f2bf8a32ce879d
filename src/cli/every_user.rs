//! Root's access to the contexts of all users: a child process per user with keys, which looks or acts as that user.
//!
//! The kernel lets root neither see nor end another user's key (keyrings(7): no capability stands for possession).
//! Called by `list` and `flush`, for all users or one.

use std::io;

use nix::unistd::{Gid, Uid, geteuid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::child::{as_user, as_users};
use crate::sys::keyctl;

const KEY_USERS: &str = "/proc/key-users";

/// One user's answer.
pub(super) struct UserAnswer<T> {
    /// The user.
    pub(super) uid: u32,
    /// Results, or why they are unknown.
    pub(super) rows: io::Result<Vec<T>>,
}

/// Runs `rows` as every user with keys except the caller; as nobody unless the caller is root. The process must have one
/// thread.
///
/// # Errors
/// Those of reading /proc/key-users.
pub(super) fn ask<T: Serialize + DeserializeOwned>(
    rows: impl Fn() -> Vec<T>,
) -> io::Result<Vec<UserAnswer<T>>> {
    if !geteuid().is_root() {
        return Ok(Vec::new());
    }
    let users = std::fs::read_to_string(KEY_USERS)?;
    // Finding the user's primary group would need the name service, and keys need no group.
    let others = uids(&users).filter(|&uid| uid != 0);
    let others = others.map(|uid| (Uid::from_raw(uid), Gid::from_raw(uid)));
    let answers = as_users(others, || {
        // The process keyring must lead to the user's keys.
        keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)?;
        Ok(rows())
    });
    let mut answers: Vec<_> =
        answers.into_iter().map(|(uid, rows)| UserAnswer { uid: uid.as_raw(), rows }).collect();
    answers.sort_by_key(|answer| answer.uid);
    Ok(answers)
}

/// Number of other users with keys, as far as the kernel shows them to the caller.
pub(super) fn others() -> usize {
    let users = std::fs::read_to_string(KEY_USERS).unwrap_or_default();
    uids(&users).filter(|&uid| uid != geteuid().as_raw()).count()
}

/// Parses lines `%5u: usage keys/…` (keyrings(7)).
fn uids(users: &str) -> impl Iterator<Item = u32> {
    users.lines().filter_map(|line| line.split_once(':')?.0.trim().parse().ok())
}

/// Runs `rows` as one user; only root can.
///
/// # Errors
/// Those of [`as_user`].
pub(super) fn ask_one<T: Serialize + DeserializeOwned>(
    uid: u32,
    rows: impl Fn() -> Vec<T>,
) -> io::Result<Vec<T>> {
    // As in `ask`.
    as_user((Uid::from_raw(uid), Gid::from_raw(uid)), || {
        keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)?;
        Ok(rows())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_from_the_kernels_list() {
        let list = "    0:   106 105/105 27/1000000 1729/25000000\n 1000:     1 1/1 1/200 9/20000\n4294967294: 0\nx\n";
        assert_eq!(uids(list).collect::<Vec<_>>(), [0, 1000, 4_294_967_294]);
    }
}
