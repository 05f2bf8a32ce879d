//! Work in a process of ours, with the caller's ids or, by root, with a user's; it answers in JSON.
//!
//! Called by every_user.rs and by `lgss caches`. Invariant: a process with a user's ids never becomes one that he can trace:
//! it is undumpable, and executes nothing. It has a session keyring of its own, not root's. No process is waited for long:
//! that user can stop it, and a file system can hold it up.

use std::fs::File;
use std::io::{self, ErrorKind, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::process::{Forked, Process, end, fork, fork_confined, readable};
use crate::sys::{jail, keyctl};

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the end of a process that was killed.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Longest answer in bytes: some ten thousand contexts, more than a quota allows.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// Has it done in another process of the caller's. The calling process must have one thread.
///
/// # Errors
/// Those of starting the process; `TimedOut`, `UnexpectedEof` if it does not answer.
pub(super) fn apart<T: Serialize + DeserializeOwned>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (reader, writer) = io::pipe()?;
    match fork()? {
        Forked::Child => end(i32::from(answer(writer, work).is_err())),
        Forked::Parent(pid) => {
            drop(writer);
            hear(&Process::open(pid)?, reader.into())
        }
    }
}

/// Has it done as a user, but root; only root can. The calling process must have one thread.
///
/// # Errors
/// As [`apart`].
pub(super) fn as_user<T: Serialize + DeserializeOwned>(
    (uid, gid): (Uid, Gid),
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let (reader, writer) = io::pipe()?;
    match fork_confined()? {
        Forked::Child => end(i32::from(become_user(uid, gid).and_then(|()| answer(writer, work)).is_err())),
        Forked::Parent(pid) => {
            drop(writer);
            hear(&Process::open(pid)?, reader.into())
        }
    }
}

/// In the child. The keyrings are root's still, so that they need nothing of the user's quota, which may be used up.
fn become_user(uid: Uid, gid: Gid) -> io::Result<()> {
    jail::leave_no_core()?;
    keyctl::join_anonymous_session()?;
    keyctl::make_keyring(keyctl::PROCESS_KEYRING)?;
    Ok(jail::drop_to(uid, gid)?)
}

/// In the child. Whoever reads the caller's output is not to wait for a child that is held up.
fn answer<T: Serialize>(writer: PipeWriter, work: impl FnOnce() -> io::Result<T>) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(serde_json::to_writer(writer, &work()?)?)
}

fn hear<T: DeserializeOwned>(child: &Process, pipe: OwnedFd) -> io::Result<T> {
    let text = read_in_time(File::from(pipe));
    // It may have ended by itself.
    let _ = child.kill();
    child.wait_for_end(END_LIMIT);
    child.reap();
    let text = text?;
    if text.is_empty() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "cannot act as this user"));
    }
    Ok(serde_json::from_slice(&text)?)
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
