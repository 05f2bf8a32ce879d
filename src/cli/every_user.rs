//! Root's way to the contexts of all users: a process of ours for each user who has keys, which looks or acts as that user
//! and answers in JSON.
//!
//! The kernel lets root neither see nor end a key of another user's (keyrings(7): no capability stands for possession).
//! Called by `list --all` and `flush --all`. Invariant: such a process has that user's ids, but never becomes one he
//! can trace: it is undumpable, and executes nothing. It has a session keyring of its own, not root's. It is not waited for
//! long, as he can stop it.

use std::fs::File;
use std::io::{self, ErrorKind, PipeWriter, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, geteuid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::process::{Forked, Process, end, fork_confined, readable};
use crate::sys::{jail, keyctl};

/// For one user; he is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer in bytes: some ten thousand contexts, more than a quota allows.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;
const KEY_USERS: &str = "/proc/key-users";

/// The answers of one user.
pub(super) struct Answer<T> {
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
pub(super) fn ask<T: Serialize + DeserializeOwned>(rows: impl Fn() -> Vec<T>) -> io::Result<Vec<Answer<T>>> {
    if !geteuid().is_root() {
        return Ok(Vec::new());
    }
    let users = std::fs::read_to_string(KEY_USERS)?;
    let others = uids(&users).filter(|&uid| uid != 0);
    Ok(others.map(|uid| Answer { uid, rows: ask_one(uid, &rows) }).collect())
}

/// `%5u: usage keys/…` (keyrings(7)).
fn uids(users: &str) -> impl Iterator<Item = u32> {
    users.lines().filter_map(|line| line.split_once(':')?.0.trim().parse().ok())
}

fn ask_one<T: Serialize + DeserializeOwned>(uid: u32, rows: impl Fn() -> Vec<T>) -> io::Result<Vec<T>> {
    let (reader, writer) = io::pipe()?;
    match fork_confined()? {
        Forked::Child => end(i32::from(answer_as(uid, writer, rows).is_err())),
        Forked::Parent(pid) => {
            drop(writer);
            let child = Process::open(pid)?;
            let text = read_in_time(File::from(std::os::fd::OwnedFd::from(reader)));
            // It may have ended by itself.
            let _ = child.kill();
            child.wait_for_end(PATIENCE);
            child.reap();
            let text = text?;
            if text.is_empty() {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "cannot act as this user"));
            }
            Ok(serde_json::from_slice(&text)?)
        }
    }
}

/// In the child. The session keyring is root's still, so that it needs nothing of the user's quota, which may be used up;
/// what it leads to is the user's.
fn answer_as<T: Serialize>(uid: u32, writer: PipeWriter, rows: impl Fn() -> Vec<T>) -> io::Result<()> {
    jail::leave_no_core()?;
    keyctl::join_anonymous_session()?;
    // The uid's own group would need the name service, and keys need no group.
    jail::drop_to(Uid::from_raw(uid), Gid::from_raw(uid))?;
    keyctl::link(keyctl::USER_KEYRING, keyctl::SESSION_KEYRING)?;
    Ok(serde_json::to_writer(writer, &rows())?)
}

fn read_in_time(mut pipe: File) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut text = Vec::new();
    let mut part = [0; 16 * 1024];
    while !readable(&[pipe.as_fd()], deadline)?.is_empty() {
        match pipe.read(&mut part)? {
            0 => return Ok(text),
            length => text.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
        if text.len() > ANSWER_LIMIT {
            return Err(Errno::EFBIG.into());
        }
    }
    Err(ErrorKind::TimedOut.into())
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
