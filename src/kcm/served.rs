//! Whom an agent may be started for.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;

use crate::sys::files::lossy_text;

/// The uid that the kernel shows for those that have none in our user namespace (user_namespaces(7)).
const OVERFLOW: u32 = 65534;

/// The rule for all peers.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerRule {
    /// The program's own user, who is also root's agent.
    pub own: Uid,
    /// Whether different strangers may appear as one uid.
    strangers: bool,
}

/// Who has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    /// As the kernel has seen it when it connected.
    pub uid: u32,
}

/// Why somebody has no agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotServed {
    /// The kernel does not say who it is.
    #[error("the kernel does not name the peer ({0})")]
    Unknown(Errno),
    /// The user of this program has no caches.
    #[error("uid {0} is this server's own user, which has no caches")]
    Own(u32),
    /// It may be anybody.
    #[error("uid {0} stands for everybody whom this user namespace does not know")]
    Stranger(u32),
}

impl PeerRule {
    /// For a program that runs as `own` in the user namespace that this process is in.
    pub(super) fn new(own: Uid) -> Self {
        let map = lossy_text("/proc/self/uid_map").unwrap_or_default();
        Self { own, strangers: !maps_all(&map) }
    }

    /// Who is at the other end of this connection.
    ///
    /// # Errors
    /// [`NotServed`].
    pub(super) fn peer(self, connection: BorrowedFd<'_>) -> Result<Peer, NotServed> {
        // The process id is not looked at, so that it does not matter whether it has been recycled.
        let uid = getsockopt(&connection, PeerCredentials).map_err(NotServed::Unknown)?.uid();
        match uid {
            u32::MAX => Err(NotServed::Unknown(Errno::EINVAL)),
            uid if uid == self.own.as_raw() => Err(NotServed::Own(uid)),
            OVERFLOW if self.strangers => Err(NotServed::Stranger(uid)),
            uid => Ok(Peer { uid }),
        }
    }
}

impl Peer {
    /// The user that this peer's agent runs as: never root.
    pub(super) fn agent_user(self, served: PeerRule) -> Uid {
        if self.uid == 0 { served.own } else { Uid::from_raw(self.uid) }
    }
}

/// Whether a map (user_namespaces(7)) has every uid.
fn maps_all(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_overflow_uid_is_a_user_only_where_everybody_has_a_uid() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(!maps_all("0 0 65536\n") && !maps_all("0 100000 65536\n1 1 1\n") && !maps_all(""));
    }

    #[test]
    fn roots_agent_is_not_root_and_the_servers_user_has_none() {
        let (here, _there) = UnixStream::pair().unwrap();
        let me = nix::unistd::geteuid();
        let own = Uid::from_raw(4_000_778);
        let served = PeerRule { own, strangers: false };
        let peer = served.peer(here.as_fd()).unwrap();
        assert_eq!(peer.uid, me.as_raw());
        assert_eq!(Peer { uid: 0 }.agent_user(served), own);
        assert_eq!(Peer { uid: 7 }.agent_user(served), Uid::from_raw(7));
        let own = PeerRule { own: me, strangers: false };
        assert_eq!(own.peer(here.as_fd()), Err(NotServed::Own(me.as_raw())));
    }
}
