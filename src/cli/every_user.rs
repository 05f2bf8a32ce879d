//! Root's way to the contexts of all users: a process of ours for each user who has keys, which looks or acts as that user.
//!
//! The kernel lets root neither see nor end a key of another user's (keyrings(7): no capability stands for possession).
//! Called by `list` and `flush`, for all users or one.

use std::io;

use nix::unistd::{Gid, Uid, geteuid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::child::{as_user, as_users};
use crate::sys::keyctl;

const KEY_USERS: &str = "/proc/key-users";

/// The answers of one user.
pub(super) struct UserAnswer<T> {
    /// Who.
    pub(super) uid: u32,
    /// What was found or done, or why that is not known.
    pub(super) rows: io::Result<Vec<T>>,
}

/// Has `rows` done as every user who has keys, but the caller; as nobody unless the caller is root. The process must have
/// one thread.
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
    // The uid's own group would need the name service, and keys need no group.
    let others = uids(&users).filter(|&uid| uid != 0);
    let others = others.map(|uid| (Uid::from_raw(uid), Gid::from_raw(uid)));
    let answers = as_users(others, || {
        // What the process keyring leads to is the user's.
        keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)?;
        Ok(rows())
    });
    let mut answers: Vec<_> =
        answers.into_iter().map(|(uid, rows)| UserAnswer { uid: uid.as_raw(), rows }).collect();
    answers.sort_by_key(|answer| answer.uid);
    Ok(answers)
}

/// How many other users have keys, as far as the caller is told.
pub(super) fn others() -> usize {
    let users = std::fs::read_to_string(KEY_USERS).unwrap_or_default();
    uids(&users).filter(|&uid| uid != geteuid().as_raw()).count()
}

/// `%5u: usage keys/…` (keyrings(7)).
fn uids(users: &str) -> impl Iterator<Item = u32> {
    users.lines().filter_map(|line| line.split_once(':')?.0.trim().parse().ok())
}

/// Has it done as one user, by root.
///
/// # Errors
/// Those of [`as_user`].
pub(super) fn ask_one<T: Serialize + DeserializeOwned>(
    uid: u32,
    rows: impl Fn() -> Vec<T>,
) -> io::Result<Vec<T>> {
    // The uid's own group would need the name service, and keys need no group.
    as_user((Uid::from_raw(uid), Gid::from_raw(uid)), || {
        // What the process keyring leads to is the user's.
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
