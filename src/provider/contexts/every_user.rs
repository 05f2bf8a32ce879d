//! Root's access to the contexts of all users: a child process per user with keys, which looks or acts as that user.
//!
//! The kernel lets root neither see nor end another user's key (keyrings(7): no capability stands for possession).

use nix::unistd::{Gid, Uid, geteuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::owners::Owners;
use crate::provider::child::{as_user, as_users};
use crate::provider::operation::{RootRights, Undone};
use crate::sys::keyctl;

const KEY_USERS: &str = "/proc/key-users";

/// One user's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserAnswer<T> {
    /// The user.
    pub uid: u32,
    /// Results, or why they are unknown.
    pub rows: Result<Vec<T>, String>,
}

/// Runs `rows` as each of these users, as root in this process. The process must have one thread.
///
/// # Errors
/// [`Undone`] if /proc/key-users cannot be read.
pub(super) fn ask<T: Serialize + DeserializeOwned>(
    owners: Owners,
    _: &RootRights,
    rows: impl Fn() -> Vec<T>,
) -> Result<Vec<UserAnswer<T>>, Undone> {
    // Finding the user's primary group would need the name service, and keys need no group.
    let ids = |uid: u32| (Uid::from_raw(uid), Gid::from_raw(uid));
    let in_child = || {
        // The process keyring must lead to the user's keys.
        keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)?;
        Ok(rows())
    };
    match owners {
        Owners::One(0) => Ok(vec![UserAnswer { uid: 0, rows: Ok(rows()) }]),
        // Looking makes keyrings, which stay: not for somebody who has none.
        Owners::One(uid) if !has_keys(uid) => Ok(vec![UserAnswer { uid, rows: Ok(Vec::new()) }]),
        Owners::One(uid) => {
            let rows = as_user(ids(uid), in_child).map_err(|error| error.to_string());
            Ok(vec![UserAnswer { uid, rows }])
        }
        Owners::All => {
            let users = std::fs::read_to_string(KEY_USERS)
                .map_err(|error| Undone::plain(format!("{KEY_USERS}: {error}")))?;
            let others = as_users(uids(&users).filter(|&uid| uid != 0).map(ids), in_child);
            let mut answers: Vec<_> = others
                .into_iter()
                .map(|(uid, rows)| UserAnswer {
                    uid: uid.as_raw(),
                    rows: rows.map_err(|error| error.to_string()),
                })
                .collect();
            answers.push(UserAnswer { uid: 0, rows: Ok(rows()) });
            answers.sort_by_key(|answer| answer.uid);
            Ok(answers)
        }
    }
}

fn has_keys(uid: u32) -> bool {
    std::fs::read_to_string(KEY_USERS).is_ok_and(|users| uids(&users).any(|user| user == uid))
}

/// Number of other users with keys, as far as the kernel shows them to the caller.
pub(crate) fn others() -> usize {
    let users = std::fs::read_to_string(KEY_USERS).unwrap_or_default();
    uids(&users).filter(|&uid| uid != geteuid().as_raw()).count()
}

/// Parses lines `%5u: usage keys/…` (keyrings(7)).
fn uids(users: &str) -> impl Iterator<Item = u32> {
    users.lines().filter_map(|line| line.split_once(':')?.0.trim().parse().ok())
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
