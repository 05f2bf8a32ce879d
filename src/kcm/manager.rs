//! What a service manager is told (sd_notify(3)), and what it keeps: the doors, so that a restart of the service loses no agent.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;

use crate::sys::passing::send;

/// Before the uid in the name of a door that is kept.
const DOOR_NAME: &str = "agent-";

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// Whose doors it has yet to be told to close: it did not take the message.
    late: BTreeSet<u32>,
}

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
        Self::at(std::env::var("NOTIFY_SOCKET").ok().as_deref().and_then(connected))
    }

    fn at(socket: Option<UnixDatagram>) -> Self {
        Self { socket, late: BTreeSet::new() }
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
    pub(super) fn keep(&mut self, uid: u32, door: BorrowedFd<'_>) -> bool {
        self.catch_up();
        // Beside a door of the same name, which is closed, there is to be no other.
        !self.late.contains(&uid) && self.tell(&format!("FDSTORE=1\nFDNAME={}\n", name(uid)), Some(door))
    }

    /// Has it close its copy of a door, for which the agent waits.
    pub(super) fn drop(&mut self, uid: u32) {
        self.late.insert(uid);
        self.catch_up();
    }

    /// Tells it what it has not taken. Returns whether something is left.
    pub(super) fn catch_up(&mut self) -> bool {
        let mut late = std::mem::take(&mut self.late);
        late.retain(|uid| !self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={}\n", name(*uid)), None));
        self.late = late;
        !self.late.is_empty()
    }

    fn tell(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> bool {
        let Some(socket) = &self.socket else { return true };
        // Who is not there any more keeps nothing.
        let busy = [Errno::EAGAIN, Errno::ENOBUFS, Errno::ENOMEM, Errno::ETOOMANYREFS];
        match send(socket.as_fd(), text.as_bytes(), descriptor.as_slice()) {
            Err(errno) => descriptor.is_none() && !busy.contains(&errno),
            Ok(()) => true,
        }
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
    fn a_manager_that_takes_nothing_is_told_later_and_keeps_no_second_door_of_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let taken = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        taken.set_nonblocking(true).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(directory.path().join("notify")).unwrap();
        let mut manager = ServiceManager::at(Some(socket));
        let full = (0..10_000).find(|_| !manager.tell("x", Some(taken.as_fd())));
        assert!(full.is_some());
        manager.drop(7);
        assert!(manager.catch_up() && !manager.keep(7, taken.as_fd()) && !manager.keep(8, taken.as_fd()));
        let mut buffer = [0; 100];
        while taken.recv(&mut buffer).is_ok() {}
        assert!(!manager.catch_up() && manager.keep(7, taken.as_fd()));
        let mut next = || taken.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap();
        assert_eq!(next(), b"FDSTOREREMOVE=1\nFDNAME=agent-7\n");
        assert_eq!(next(), b"FDSTORE=1\nFDNAME=agent-7\n");
        drop(taken);
        manager.drop(7);
        assert!(!manager.catch_up());
    }

    #[test]
    fn only_the_name_of_a_door_names_a_uid() {
        assert_eq!(uid_of(&name(4_000_777)), Some(4_000_777));
        for other in ["agent-", "agent-+1", "agent-01", "agent-4294967296", "lgss-kcm.socket", ""] {
            assert_eq!(uid_of(other), None, "{other}");
        }
    }
}
