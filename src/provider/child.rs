//! Work in a child process that answers in JSON, with the caller's ids or, for root, with a user's.
//!
//! Called by every_user.rs and `lgss caches`. Invariant: a process with a user's ids never becomes traceable by that user:
//! it is undumpable, and executes nothing. It has a new session keyring, not root's. Every wait for a child is bounded: its
//! user can stop it, and a file system can block it.

use std::fs::File;
use std::io::{self, ErrorKind, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::fork::{ForkResult, fork, fork_confined};
use crate::sys::process::{Process, end, readable};
use crate::sys::{jail, keyctl};

/// Limit for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Limit for the end of a killed process that is one of many.
const KILLED_LIMIT: Duration = Duration::from_millis(100);
/// Limit for the end of a single killed process.
const CHILD_END_LIMIT: Duration = Duration::from_secs(2);
/// Limit for the answers of many users together: some may have stopped their processes.
const ALL_USERS_LIMIT: Duration = Duration::from_secs(15);
/// Limit for the answer of one of many users.
const EACH_USER_LIMIT: Duration = Duration::from_secs(5);
/// Processes alive at the same time.
const AT_ONCE: usize = 64;
/// Longest answer in bytes: enough for some ten thousand contexts, more than a quota allows.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Does the work in a child with the caller's ids. The calling process must have one thread.
///
/// # Errors
/// Those of starting the process; `TimedOut` or `UnexpectedEof` if it does not answer.
pub(crate) fn in_child<T: Serialize + DeserializeOwned>(
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let (reader, writer) = io::pipe()?;
    match fork()? {
        ForkResult::Child => end(i32::from(send_answer(writer, work).is_err())),
        ForkResult::Parent { child } => {
            drop(writer);
            receive(&Process::of_child(child)?, reader.into())
        }
    }
}

/// Does the work in a child with the ids of a user other than root; only root can. The calling process must have one thread.
///
/// # Errors
/// As [`in_child`].
pub(crate) fn as_user<T: Serialize + DeserializeOwned>(
    (uid, gid): (Uid, Gid),
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let (reader, writer) = io::pipe()?;
    match fork_confined()? {
        ForkResult::Child => {
            end(i32::from(become_user(uid, gid).and_then(|()| send_answer(writer, work)).is_err()))
        }
        ForkResult::Parent { child } => {
            drop(writer);
            receive(&Process::of_child(child)?, reader.into())
        }
    }
}

/// Does the work as each of these users, many at a time, within one limit for all: users who stop their processes, even
/// thousands, cost no more than that. Returns the answers in the order of their arrival.
pub(crate) fn as_users<T: Serialize + DeserializeOwned>(
    users: impl Iterator<Item = (Uid, Gid)>,
    work: impl Fn() -> io::Result<T>,
) -> Vec<(Uid, io::Result<T>)> {
    let end = Instant::now() + ALL_USERS_LIMIT;
    let mut users = users.fuse();
    let (mut asked, mut answers) = (Vec::<UserProcess>::new(), Vec::new());
    loop {
        while asked.len() < AT_ONCE
            && let Some((uid, gid)) = users.next()
        {
            if Instant::now() >= end {
                answers.push((uid, Err(ErrorKind::TimedOut.into())));
                continue;
            }
            match UserProcess::start((uid, gid), &work) {
                Ok(started) => asked.push(started),
                Err(error) => answers.push((uid, Err(error))),
            }
        }
        let Some(soonest) = asked.iter().map(|asked| asked.limit).min() else { return answers };
        let pipes: Vec<_> = (0..).zip(asked.iter().map(|asked| asked.pipe.as_fd())).collect();
        let ready = readable(&pipes, soonest.min(end)).unwrap_or_default();
        let now = Instant::now();
        let mut index = 0;
        asked.retain_mut(|asked| {
            let ended = if ready.contains(&index) { asked.read_some() } else { None };
            index += 1;
            let late = || (now >= asked.limit.min(end)).then(|| Err(ErrorKind::TimedOut.into()));
            match ended.or_else(late) {
                Some(text) => {
                    answers.push((asked.uid, text.and_then(|()| asked.answer())));
                    false
                }
                None => true,
            }
        });
    }
}

/// A child at work with a user's ids.
struct UserProcess {
    uid: Uid,
    process: Process,
    pipe: File,
    text: Vec<u8>,
    limit: Instant,
}

impl UserProcess {
    fn start<T: Serialize>((uid, gid): (Uid, Gid), work: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        match fork_confined()? {
            ForkResult::Child => {
                end(i32::from(become_user(uid, gid).and_then(|()| send_answer(writer, work)).is_err()))
            }
            ForkResult::Parent { child } => {
                let pipe = File::from(OwnedFd::from(reader));
                let limit = Instant::now() + EACH_USER_LIMIT;
                Ok(Self { uid, process: Process::of_child(child)?, pipe, text: Vec::new(), limit })
            }
        }
    }

    /// Reads what there is; `Some` at the end.
    fn read_some(&mut self) -> Option<io::Result<()>> {
        let mut part = [0; 16 * 1024];
        match self.pipe.read(&mut part) {
            Ok(0) => return Some(Ok(())),
            Ok(length) => self.text.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(error) => return Some(Err(error)),
        }
        (self.text.len() > ANSWER_BYTES).then(|| Err(Errno::EFBIG.into()))
    }

    fn answer<T: DeserializeOwned>(&self) -> io::Result<T> {
        if self.text.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "cannot act as this user"));
        }
        Ok(serde_json::from_slice(&self.text)?)
    }
}

impl Drop for UserProcess {
    fn drop(&mut self) {
        // Fails if the child has ended by itself. A stopped child ends at once; a child blocked in the kernel is not waited for.
        let _ = self.process.kill();
        self.process.wait_for_end(KILLED_LIMIT);
        self.process.reap();
    }
}

/// Runs in the child. The keyrings are still made as root, so that they need nothing of the user's quota, which may be
/// used up.
fn become_user(uid: Uid, gid: Gid) -> io::Result<()> {
    jail::leave_no_core()?;
    keyctl::join_anonymous_session()?;
    keyctl::make_keyring(keyctl::PROCESS_KEYRING)?;
    Ok(jail::drop_to(uid, gid)?)
}

/// Runs in the child. Closes the caller's output first: its readers must not wait for a blocked child.
fn send_answer<T: Serialize>(writer: PipeWriter, work: impl FnOnce() -> io::Result<T>) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(serde_json::to_writer(writer, &work()?)?)
}

fn receive<T: DeserializeOwned>(child: &Process, pipe: OwnedFd) -> io::Result<T> {
    let text = read_in_time(File::from(pipe));
    // Fails if the child has ended by itself.
    let _ = child.kill();
    child.wait_for_end(CHILD_END_LIMIT);
    child.reap();
    let text = text?;
    if text.is_empty() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "cannot act as this user"));
    }
    Ok(serde_json::from_slice(&text)?)
}

fn read_in_time(mut pipe: File) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    let mut text = Vec::new();
    let mut part = [0; 16 * 1024];
    while !readable(&[((), pipe.as_fd())], deadline)?.is_empty() {
        match pipe.read(&mut part)? {
            0 => return Ok(text),
            length => text.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
        if text.len() > ANSWER_BYTES {
            return Err(Errno::EFBIG.into());
        }
    }
    Err(ErrorKind::TimedOut.into())
}
