//! Root's way to the contexts of all users: this command once more as each user who has keys, with JSON for an answer.
//!
//! The kernel lets root neither see nor end a key of another user's (keyrings(7): no capability stands for possession).
//! Called by `list --all` and `flush --all`. Invariant: what a process of a user's answers is believed only to be that
//! user's: it is bounded in length and time, and made printable.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;
use serde::de::DeserializeOwned;

/// For one user; he can stop our process there, and is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer: some ten thousand contexts, which no quota allows.
const ANSWER_LIMIT: u64 = 8 * 1024 * 1024;
const KEY_USERS: &str = "/proc/key-users";

/// The answers of one user.
pub(super) struct Answer<T> {
    /// Who.
    pub(super) uid: u32,
    /// What was found or done, or why that is not known.
    pub(super) rows: Result<Vec<T>, String>,
}

/// Asks every user who has keys, but the caller; nobody unless the caller is root.
///
/// # Errors
/// Those of reading /proc/key-users.
pub(super) fn ask<T: DeserializeOwned>(words: &[String]) -> io::Result<Vec<Answer<T>>> {
    if !geteuid().is_root() {
        return Ok(Vec::new());
    }
    let users = std::fs::read_to_string(KEY_USERS)?;
    Ok(uids(&users)
        .filter(|&uid| uid != 0)
        .map(|uid| Answer { uid, rows: ask_one(uid, words).map_err(|error| error.to_string()) })
        .collect())
}

/// `%5u: usage keys/…` (keyrings(7)).
fn uids(users: &str) -> impl Iterator<Item = u32> {
    users.lines().filter_map(|line| line.split_once(':')?.0.trim().parse().ok())
}

fn ask_one<T: DeserializeOwned>(uid: u32, words: &[String]) -> io::Result<Vec<T>> {
    // The uid's own group would need the name service; the keys need no group. Supplementary groups go with the uid.
    let mut child = Command::new("/proc/self/exe")
        .args(words)
        .args(["--json", "--new-session"])
        .env_clear()
        .current_dir("/")
        .uid(uid)
        .gid(uid)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let text = answer(&mut child);
    // Whatever has become of it; a process that has ended is not harmed.
    let _ = child.kill();
    child.wait()?;
    Ok(serde_json::from_str(&text?)?)
}

fn answer(child: &mut Child) -> io::Result<String> {
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(ANSWER_LIMIT).read_to_string(&mut text).map(|_| text);
        // The receiver may have lost patience.
        let _ = sender.send(read);
    });
    receiver.recv_timeout(PATIENCE).map_err(|_| io::ErrorKind::TimedOut)?
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
