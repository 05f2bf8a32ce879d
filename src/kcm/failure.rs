//! Why the program does not start.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::identity::system_user::SystemUserError;
use crate::sys::files::Untrusted;

/// The message names the thing and says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum KcmFailure {
    /// There is no user to run as.
    #[error("{0}; make it (useradd --system lgss-kcm, or systemd-sysusers), or name another with --user")]
    User(#[from] SystemUserError),
    /// Somebody else than root or the user has started it.
    #[error(
        "started as uid {0}; start it as root, or as the user of --user with CAP_SETUID, CAP_SETGID and CAP_SETPCAP"
    )]
    Unprivileged(u32),
    /// The agent's program is not root's.
    #[error("agent: {0}; install it, or name another with --agent")]
    Agent(Untrusted),
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
