//! Sends a token to a Lustre server through the kernel, and gets the answer (docs/formats.md, "Lustre's channel").
//!
//! One write(2) does both and blocks until the server has answered, so a child of the monitor makes it while the
//! monitor keeps the time. The kernel trusts the block that is written, so all of it but the token is from the kernel's
//! own callout.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::confinement::exchange_filter;
use crate::ctx::lustre::{LustreCallout, LustreMechanism};
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::Answer;
use crate::negotiate::channel::lustre::{REPLY_SIZE, decode, denial};
use crate::sys::errno::errno_of;
use crate::sys::fork::{self, ForkResult};
use crate::sys::init_channel::{self, Exchange};
use crate::sys::process::{self, Process};

/// The channel's file, below one of the directories of Lustre's parameters.
const CHANNEL: &str = "sptlrpc/gss/init_channel";
/// Interval of tries while the kernel is not ready.
const NOT_READY_PAUSE: Duration = Duration::from_millis(10);
/// Time limit for the end of a child that has given its result.
const EXCHANGE_END_LIMIT: Duration = Duration::from_secs(1);
/// Length of a result before the answer: the kernel's status and the errno of the write.
const HEAD: usize = 12;

/// The channel to the server of one request.
#[derive(Debug)]
pub(super) struct InitChannel {
    file: File,
    target: CString,
    secid: u32,
    service: u32,
    uid: u32,
    gid: u32,
    is_with_shared_key: bool,
    /// A child that does not end.
    stuck: Option<Process>,
}

impl InitChannel {
    /// Opens the channel.
    ///
    /// # Errors
    /// `Setup` if Lustre's modules are not loaded.
    pub(super) fn open(callout: &LustreCallout, directories: &[PathBuf]) -> Result<Self, Failure> {
        let broken = |detail: String| Failure::new(Stage::Negotiate, Cause::Setup, detail);
        let path = directories.iter().map(|directory| directory.join(CHANNEL)).find(|path| path.exists());
        let path = path.ok_or_else(|| broken(format!("no {CHANNEL}: Lustre's modules are not loaded")))?;
        let file = open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| broken(format!("{}: {errno}", path.display())))?
            .into();
        let mechanism: u32 = match callout.mechanism {
            LustreMechanism::Krb5 => 0,
            LustreMechanism::Gssnull => 1,
            LustreMechanism::Sk => 2,
        };
        let target = CString::new(callout.target.as_str()).map_err(|_| broken("target".to_owned()))?;
        let service = callout.server.number() | mechanism << 16;
        let (secid, uid, gid) = (callout.secid, callout.uid, callout.gid);
        let is_with_shared_key = callout.mechanism == LustreMechanism::Sk;
        Ok(Self { file, target, secid, service, uid, gid, is_with_shared_key, stuck: None })
    }

    /// Sends a token and waits for the result. While the kernel is not ready, tries again until the deadline. A server
    /// that does not answer is not asked again: it may have accepted the token, and would take the second for a replay.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Negotiate`.
    pub(super) fn exchange(
        &mut self,
        token: &[u8],
        worker: Option<&Process>,
        deadline: Instant,
    ) -> Result<Exchanged, Failure> {
        loop {
            let errno = match self.attempt(token, worker, deadline)? {
                WriteOutcome::Answered(reply) => {
                    let answer = decode(&reply);
                    return answer
                        .map(Exchanged::Answer)
                        .map_err(|e| self.failure(Cause::BadReply, &e.to_string()));
                }
                WriteOutcome::Unwanted => return Ok(Exchanged::Unwanted),
                WriteOutcome::NotTaken(errno @ (Errno::EAGAIN | Errno::EINTR)) => errno,
                WriteOutcome::NotTaken(errno) => return Err(self.refused_by_kernel(errno)),
                WriteOutcome::Failed(errno) => errno,
            };
            match errno {
                Errno::ETIMEDOUT => return Ok(Exchanged::Silence),
                // The worker may have another key.
                Errno::EACCES if self.is_with_shared_key => return Ok(Exchanged::Answer(denial())),
                Errno::EAGAIN | Errno::EINTR if Instant::now() + NOT_READY_PAUSE < deadline => {
                    thread::sleep(NOT_READY_PAUSE)
                }
                status => return Err(self.refused_by_status(status)),
            }
        }
    }

    /// The failure of a server that does not answer.
    pub(super) fn silent(&self, what: &str) -> Failure {
        self.failure(Cause::ServerSilent, what)
    }

    /// The child that does not end, if there is one.
    pub(super) fn into_stuck(self) -> Option<Process> {
        self.stuck
    }

    fn attempt(
        &mut self,
        token: &[u8],
        worker: Option<&Process>,
        deadline: Instant,
    ) -> Result<WriteOutcome, Failure> {
        let no_process = |errno: Errno| {
            Failure::new(
                Stage::Negotiate,
                Cause::Setup,
                format_args!("no process to send the token: {errno}"),
            )
        };
        let (result, give) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(no_process)?;
        // Before the fork, so that the child does not allocate.
        let mut reply = vec![0; REPLY_SIZE];
        let filter = exchange_filter().map_err(|error| no_process(errno_of(&error)))?;
        match fork::fork().map_err(no_process)? {
            ForkResult::Child => {
                drop(result);
                let sent = match filter.enforce() {
                    Ok(()) => self.send(token, &mut reply, give),
                    Err(error) => say(give, (0, errno_of(&error) as i32), &[]),
                };
                process::end(i32::from(sent.is_none()))
            }
            ForkResult::Parent { child } => {
                drop(give);
                let child = Process::of_child(child).map_err(no_process)?;
                let attempt = receive(result, worker, deadline);
                if matches!(attempt, None | Some(WriteOutcome::Unwanted)) {
                    let _ = child.kill();
                }
                if child.wait_for_end(EXCHANGE_END_LIMIT) {
                    child.reap();
                } else {
                    self.stuck = Some(child);
                }
                attempt.ok_or_else(|| self.failure(Cause::ServerSilent, "no answer in time"))
            }
        }
    }

    /// The child: writes the block, then its result to the pipe.
    fn send(&self, token: &[u8], reply: &mut [u8], give: OwnedFd) -> Option<()> {
        let exchange = Exchange {
            secid: self.secid,
            target: &self.target,
            service: self.service,
            uid: self.uid,
            gid: self.gid,
            token,
        };
        let (status, errno) = match init_channel::exchange(self.file.as_fd(), &exchange, reply) {
            Ok(status) => (status, 0),
            Err(errno) => (0, errno as i32),
        };
        say(give, (status, errno), reply)
    }

    fn refused_by_status(&self, status: Errno) -> Failure {
        let (cause, what) = match status {
            Errno::EACCES => (Cause::ServerRefused, "the server denies access"),
            Errno::EINVAL => (Cause::KeyGone, "the kernel has another security context by now"),
            Errno::E2BIG => (Cause::TokenTooLarge, "the token is too large for the server's buffer"),
            Errno::EFAULT => (Cause::BadReply, "the answer does not fit the buffer"),
            _ => return self.failure(Cause::ServerSilent, &format!("the kernel says {status}")),
        };
        self.failure(cause, what)
    }

    fn refused_by_kernel(&self, errno: Errno) -> Failure {
        match errno {
            Errno::EINVAL => {
                let what = "Lustre has no such target, or it is not set up, stopping or deactivated";
                self.failure(Cause::ServerDown, what)
            }
            other => self.failure(Cause::Setup, &format!("the kernel takes no token: {other}")),
        }
    }

    fn failure(&self, cause: Cause, what: &str) -> Failure {
        Failure::new(Stage::Negotiate, cause, format_args!("{}: {what}", self.target.to_string_lossy()))
    }
}

/// The child's result: the kernel's status, the errno of the write, and the answer.
fn say(give: OwnedFd, (status, errno): (i64, i32), reply: &[u8]) -> Option<()> {
    let mut give = File::from(give);
    give.write_all(&status.to_ne_bytes()).ok()?;
    give.write_all(&errno.to_ne_bytes()).ok()?;
    give.write_all(reply).ok()
}

/// The result of an exchange.
#[derive(Debug)]
pub(super) enum Exchanged {
    /// The server's answer.
    Answer(Answer),
    /// No answer: the kernel has given up waiting.
    Silence,
    /// No answer is wanted: the worker that sent the token has ended.
    Unwanted,
}

/// The result of one write.
enum WriteOutcome {
    /// The server's answer.
    Answered(Vec<u8>),
    /// The exchange failed, by the kernel's status.
    Failed(Errno),
    /// The kernel did not take the block.
    NotTaken(Errno),
    /// The worker has ended.
    Unwanted,
}

/// What the monitor waits for during a write.
#[derive(Clone, Copy)]
enum ExchangeEvent {
    Result,
    WorkerExited,
}

/// The child's result; `None` if it does not arrive whole and in time.
fn receive(result: OwnedFd, worker: Option<&Process>, deadline: Instant) -> Option<WriteOutcome> {
    let mut result = File::from(result);
    let mut bytes = Vec::with_capacity(HEAD + REPLY_SIZE);
    let mut piece = [0; 4096];
    loop {
        let end = worker.map(|worker| (ExchangeEvent::WorkerExited, worker.as_fd()));
        let events: Vec<_> = [(ExchangeEvent::Result, result.as_fd())].into_iter().chain(end).collect();
        match process::readable(&events, deadline).ok()?.first() {
            None => return None,
            Some(ExchangeEvent::Result) => {}
            Some(ExchangeEvent::WorkerExited) => return Some(WriteOutcome::Unwanted),
        }
        match result.read(&mut piece).ok()? {
            0 => break,
            length => bytes.extend_from_slice(piece.get(..length)?),
        }
    }
    let (status, rest) = bytes.split_first_chunk::<8>()?;
    let (errno, reply) = rest.split_first_chunk::<4>()?;
    Some(match (i32::from_ne_bytes(*errno), i64::from_ne_bytes(*status)) {
        (0, 0) => WriteOutcome::Answered(reply.to_vec()),
        (0, status) => {
            let errno = status.checked_neg().and_then(|errno| i32::try_from(errno).ok()).unwrap_or(libc::EIO);
            WriteOutcome::Failed(Errno::from_raw(errno))
        }
        (errno, _) => WriteOutcome::NotTaken(Errno::from_raw(errno)),
    })
}

#[cfg(test)]
mod tests;
