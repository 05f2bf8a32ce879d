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

use crate::sys::fork::{ForkResult, fork, fork_confined};
use crate::sys::process::{Process, end, readable};
use crate::sys::{jail, keyctl};

/// For one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// For the end of one of many that was killed.
const KILLED_LIMIT: Duration = Duration::from_millis(100);
/// For the end of a process that was killed.
const CHILD_END_LIMIT: Duration = Duration::from_secs(2);
/// For the answers of many users together: some may have stopped their processes.
const ALL_USERS_LIMIT: Duration = Duration::from_secs(15);
/// For one of these.
const EACH_USER_LIMIT: Duration = Duration::from_secs(5);
/// So many are asked at the same time.
const AT_ONCE: usize = 64;
/// Longest answer in bytes: some ten thousand contexts, more than a quota allows.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Has it done in another process of the caller's. The calling process must have one thread.
///
/// # Errors
/// Those of starting the process; `TimedOut`, `UnexpectedEof` if it does not answer.
pub(super) fn in_child<T: Serialize + DeserializeOwned>(
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let (reader, writer) = io::pipe()?;
    match fork()? {
        ForkResult::Child => end(i32::from(answer(writer, work).is_err())),
        ForkResult::Parent { child } => {
            drop(writer);
            hear(&Process::open(child)?, reader.into())
        }
    }
}

/// Has it done as a user, but root; only root can. The calling process must have one thread.
///
/// # Errors
/// As [`in_child`].
pub(super) fn as_user<T: Serialize + DeserializeOwned>(
    (uid, gid): (Uid, Gid),
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let (reader, writer) = io::pipe()?;
    match fork_confined()? {
        ForkResult::Child => {
            end(i32::from(become_user(uid, gid).and_then(|()| answer(writer, work)).is_err()))
        }
        ForkResult::Parent { child } => {
            drop(writer);
            hear(&Process::open(child)?, reader.into())
        }
    }
}

/// Has it done as each of these users at the same time, as far as there is time for all of them together: one who stops its
/// process, or thousands who do, cost no more than that. Their answers, in the order in which they came.
pub(super) fn as_users<T: Serialize + DeserializeOwned>(
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
            let told = if ready.contains(&index) { asked.hear() } else { None };
            index += 1;
            let late = || (now >= asked.limit.min(end)).then(|| Err(ErrorKind::TimedOut.into()));
            match told.or_else(late) {
                Some(text) => {
                    answers.push((asked.uid, text.and_then(|()| asked.answer())));
                    false
                }
                None => true,
            }
        });
    }
}

/// A user's process that has been given work.
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
                end(i32::from(become_user(uid, gid).and_then(|()| answer(writer, work)).is_err()))
            }
            ForkResult::Parent { child } => {
                let pipe = File::from(OwnedFd::from(reader));
                let limit = Instant::now() + EACH_USER_LIMIT;
                Ok(Self { uid, process: Process::open(child)?, pipe, text: Vec::new(), limit })
            }
        }
    }

    /// What there is to read; `Some` at the end.
    fn hear(&mut self) -> Option<io::Result<()>> {
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
        // It may have ended by itself. A stopped one ends at once; what is held up by something else is not waited for.
        let _ = self.process.kill();
        self.process.wait_for_end(KILLED_LIMIT);
        self.process.reap();
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
