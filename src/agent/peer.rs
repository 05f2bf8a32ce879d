//! Who connects: the kernel's word about a connection's other end, and the scope of what it may see.
//!
//! Called for each new connection. Invariant: a connection of another user, or one whose session cannot be learnt where
//! that matters, is closed before a byte of it is read.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{SockType, getsockopt, sockopt};

use crate::config::AgentScope;
use crate::sys::proc::{open_task, read_small};
use crate::sys::process::Process;

/// The audit session of a process that has none (`AUDIT_SID_UNSET`).
const NO_SESSION: u32 = u32::MAX;
/// Longest text about cgroups that is read, in bytes.
const CGROUPS_LIMIT: usize = 8192;

/// Who shares a collection of caches with a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ClientScope {
    /// All processes of the user.
    User,
    /// Those of this audit session (proc_pid_sessionid(5)).
    Session(u32),
    /// Those in these cgroups, which have no audit session.
    Cgroups(Vec<u8>),
}

/// Why a connection is closed at once.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerFault {
    /// It is no stream of bytes, or the kernel does not say who is there.
    #[error("a connection is no local stream: {0}")]
    NotAStream(Errno),
    /// Its user is another one.
    #[error("a connection of uid {0} is closed: these are the caches of another user")]
    AnotherUser(u32),
    /// Its session cannot be learnt.
    #[error("a connection of process {0} is closed: its session cannot be learnt: {1}")]
    NoScope(i32, Errno),
}

/// The scope of a connection.
///
/// # Errors
/// [`PeerFault`].
pub(super) fn scope_of(socket: &UnixStream, uid: u32, scope: AgentScope) -> Result<ClientScope, PeerFault> {
    let kind = getsockopt(socket, sockopt::SockType).map_err(PeerFault::NotAStream)?;
    if kind != SockType::Stream {
        return Err(PeerFault::NotAStream(Errno::EPROTOTYPE));
    }
    let peer = getsockopt(socket, sockopt::PeerCredentials).map_err(PeerFault::NotAStream)?;
    if peer.uid() != uid {
        return Err(PeerFault::AnotherUser(peer.uid()));
    }
    match scope {
        AgentScope::User => Ok(ClientScope::User),
        AgentScope::Session => {
            session_of(socket, peer.pid()).map_err(|errno| PeerFault::NoScope(peer.pid(), errno))
        }
    }
}

/// The audit session or the cgroups of the process that has connected.
fn session_of(socket: &UnixStream, pid: i32) -> Result<ClientScope, Errno> {
    let process = Process::of_peer(socket.as_fd(), pid)?;
    let task = open_task(&process.id().to_string())?;
    let mut buffer = [0; 16];
    let session = read_small(task.as_fd(), "sessionid", &mut buffer);
    let session = session.ok().and_then(|text| std::str::from_utf8(text).ok()?.trim_end().parse().ok());
    let scope = match session {
        Some(session) if session != NO_SESSION => ClientScope::Session(session),
        _ => {
            let mut buffer = vec![0; CGROUPS_LIMIT];
            let cgroups = read_small(task.as_fd(), "cgroup", &mut buffer)?;
            if cgroups.is_empty() || cgroups.len() == CGROUPS_LIMIT {
                return Err(Errno::EOVERFLOW);
            }
            ClientScope::Cgroups(cgroups.to_vec())
        }
    };
    // Only now it is certain that nobody else had the number meanwhile.
    if process.wait_for_end(std::time::Duration::ZERO) { Err(Errno::ESRCH) } else { Ok(scope) }
}
