//! The keeper's children: the acceptor, agents, and those that only close what strangers have sent.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

use super::launch::NOT_STARTED;
use super::lines::{KcmLog, LogSeverity};
use crate::sys::fork::{ForkResult, fork};
use crate::sys::passing::may_hold_descriptors;
use crate::sys::process::end;

/// Children that close, and what waits for one of them to end.
const CLOSERS: usize = 32;
const WAITING: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Children {
    /// Uids that agents serve.
    agents: BTreeMap<Pid, u32>,
    acceptor: Option<Pid>,
    closers: Vec<Pid>,
    /// To be closed.
    waiting: Vec<OwnedFd>,
}

impl Children {
    pub(super) fn add_agent(&mut self, agent: Pid, uid: u32) {
        self.agents.insert(agent, uid);
    }

    pub(super) fn expect_acceptor(&mut self, acceptor: Pid) {
        self.acceptor = Some(acceptor);
    }

    /// Who that child was; nobody for those that only close.
    fn forget(&mut self, pid: Pid) -> Option<String> {
        if let Some(at) = self.closers.iter().position(|closer| *closer == pid) {
            self.closers.swap_remove(at);
            return None;
        }
        Some(match self.agents.remove(&pid) {
            Some(uid) => format!("uid {uid}: agent {pid}"),
            None if self.acceptor.take_if(|acceptor| *acceptor == pid).is_some() => format!("acceptor {pid}"),
            // Agents stay our children over a restart, which forgets their uids.
            None => format!("agent {pid}, which was started before a restart,"),
        })
    }

    /// Reaps those that have ended, and tells of those that should not have.
    pub(super) fn reap(&mut self, lines: &mut KcmLog) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let Some(pid) = status.pid() else { break };
            let Some(who) = self.forget(pid) else { continue };
            let (severity, how) = match status {
                WaitStatus::Exited(_, NOT_STARTED) => {
                    let how =
                        "was not started: it could not become the user, or the program could not be executed";
                    (LogSeverity::Warning, how.to_owned())
                }
                WaitStatus::Exited(_, status) if status != 0 => {
                    (LogSeverity::Warning, format!("ended with status {status}"))
                }
                WaitStatus::Signaled(_, signal @ (Signal::SIGKILL | Signal::SIGTERM), _) => {
                    (LogSeverity::Info, format!("was ended by {signal}"))
                }
                WaitStatus::Signaled(_, signal, _) => {
                    (LogSeverity::Warning, format!("was ended by {signal}"))
                }
                _ => continue,
            };
            lines.write(severity, &format!("{who} {how}"));
        }
        self.close(Vec::new());
    }

    /// Closes sockets that strangers could write to, in a child if that could take long.
    pub(super) fn close(&mut self, sockets: Vec<OwnedFd>) {
        let waiting = sockets.into_iter().filter(|socket| may_hold_descriptors(socket.as_fd()));
        self.waiting.extend(waiting);
        let is_time = self.closers.len() < CLOSERS || self.waiting.len() >= WAITING;
        if self.waiting.is_empty() || !is_time {
            return;
        }
        let Ok((told, tell)) = pipe2(nix::fcntl::OFlag::O_CLOEXEC) else { return };
        match fork() {
            Ok(ForkResult::Child) => {
                drop(tell);
                // Until the parent has closed its own, so that these are the last.
                let _ = nix::unistd::read(&told, &mut [0]);
                end(0)
            }
            Ok(ForkResult::Parent { child }) => {
                self.closers.push(child);
                self.waiting.clear();
                drop(tell);
            }
            // They wait for the next time.
            Err(_) => {}
        }
    }
}
