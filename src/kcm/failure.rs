//! Why the program does not start.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::identity::system_user::{SystemUserError, how_to_make};
use crate::sys::files::Untrusted;

/// The message names the thing and says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum KcmFailure {
    /// There is no user to run as.
    #[error("{0}; {remedy}, or name another with --user", remedy = of_the_user(.0))]
    User(#[from] SystemUserError),
    /// After a restart it would have to become another user, which it cannot.
    #[error(
        "the user of --user has uid {0} and gid {1} now, and this process others; stop lgss_kcm and start it again"
    )]
    AnotherUser(u32, u32),
    /// Somebody else than root or the user has started it.
    #[error(
        "started as uid {0}; start it as root, or as the user of --user with CAP_SETUID, CAP_SETGID and CAP_SETPCAP"
    )]
    Unprivileged(u32),
    /// The agent's program is not root's.
    #[error("agent: {0}; install it, or name another with --agent")]
    Agent(Untrusted),
    /// The agent's program is not executable.
    #[error("agent: {0} is not executable; install it, or name another with --agent")]
    AgentNotExecutable(PathBuf),
    /// No agent could read its settings.
    #[error("agent: its settings {0}: {1}; name another file with --agent-config, by its whole path")]
    AgentConfig(PathBuf, Errno),
    /// Its words could not be put together.
    #[error("agent: its command line would contain a zero byte")]
    AgentWords,
    /// Others could replace the socket.
    #[error("socket: {0}; choose a directory of root's with --socket")]
    SocketDirectory(Untrusted),
    /// Another program serves.
    #[error(
        "socket {0}: a program listens there, such as sssd-kcm; stop it, or choose another place with --socket"
    )]
    SocketInUse(PathBuf),
    /// Something that is no socket is at its place.
    #[error("socket {0}: is there, and no socket; remove it, or choose another place with --socket")]
    NoSocket(PathBuf),
    /// The socket could not be made.
    #[error("socket {0}: {1}")]
    Socket(PathBuf, Errno),
    /// Fewer descriptors than the doors of all agents take.
    #[error(
        "{agents} agents take {needed} descriptors, and the limit is {reached}; raise it (LimitNOFILE=, ulimit -Hn), or lower --agents"
    )]
    Descriptors { agents: u64, needed: u64, reached: u64 },
    /// A step of the start failed.
    #[error("{0}: {1}")]
    Step(&'static str, Errno),
    /// What was given up could be taken back.
    #[error("could become root; this is a fault of the program or of the kernel")]
    Root,
}

fn of_the_user(error: &SystemUserError) -> String {
    match error {
        SystemUserError::Unknown(name) => format!("make it ({}; or systemd-sysusers)", how_to_make(name)),
        SystemUserError::Root(_) | SystemUserError::Read(_) => {
            "it must be in /etc/passwd, and not root".to_owned()
        }
    }
}
