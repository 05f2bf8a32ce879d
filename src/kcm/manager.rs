//! What a service manager is told (sd_notify(3)), and what it keeps: the doors, so that a restart of the service loses no agent.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::sys::passing::send;

/// Before the uid in the name of a door that is kept.
const DOOR_NAME: &str = "agent-";

/// The manager's socket, if there is a manager.
#[derive(Debug)]
pub(super) struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// By NOTIFY_SOCKET, which a leading @ makes an abstract name.
    pub(super) fn find() -> Self {
        let connected = |name: &str| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name.as_bytes()).ok()?,
                None => SocketAddr::from_pathname(name).ok()?,
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect_addr(&address).ok().map(|()| socket)
        };
        Self(std::env::var("NOTIFY_SOCKET").ok().as_deref().and_then(connected))
    }

    /// Connections are taken.
    pub(super) fn ready(&self) {
        self.tell("READY=1\n", None);
    }

    /// The program is about to end.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\n", None);
    }

    /// Has it keep a door. Returns whether it does, as far as can be known.
    pub(super) fn keep(&self, uid: u32, door: BorrowedFd<'_>) -> bool {
        self.tell(&format!("FDSTORE=1\nFDNAME={}\n", name(uid)), Some(door))
    }

    /// Has it close its copy of a door.
    pub(super) fn drop(&self, uid: u32) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={}\n", name(uid)), None);
    }

    fn tell(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> bool {
        let Self(Some(socket)) = self else { return true };
        send(socket.as_fd(), text.as_bytes(), descriptor.as_slice()).is_ok()
    }
}

/// The name of a door.
pub(super) fn name(uid: u32) -> String {
    format!("{DOOR_NAME}{uid}")
}

/// Whose door has this name.
pub(super) fn uid_of(door: &str) -> Option<u32> {
    door.strip_prefix(DOOR_NAME)?.parse().ok().filter(|&uid| name(uid) == door)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_door_names_a_uid() {
        assert_eq!(uid_of(&name(4_000_777)), Some(4_000_777));
        for other in ["agent-", "agent-+1", "agent-01", "agent-4294967296", "lgss-kcm.socket", ""] {
            assert_eq!(uid_of(other), None, "{other}");
        }
    }
}
