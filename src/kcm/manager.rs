//! What a service manager is told (sd_notify(3)), and what it keeps: the doors, so that a restart of the service loses no agent.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
    /// What it has yet to be told, since it took no message: that connections are taken,
    ready: bool,
    /// whose doors it is to close,
    undropped: BTreeSet<u32>,
    /// and whose doors it is to keep.
    unkept: BTreeSet<u32>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ManagerAnswer {
    Done,
    /// Nobody is there.
    Never,
    /// It is to be tried again.
    Busy,
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
        Self { socket, ready: false, undropped: BTreeSet::new(), unkept: BTreeSet::new() }
    }

    /// Connections are taken.
    pub(super) fn ready(&mut self) {
        self.ready = self.tell("READY=1\n", None) == ManagerAnswer::Busy;
    }

    /// The program is about to end.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\n", None);
    }

    /// Has it keep a door, now or with [`Self::catch_up`]. Returns whether it does so now, as far as can be known.
    pub(super) fn keep(&mut self, uid: u32, door: BorrowedFd<'_>) -> bool {
        // Beside a door of the same name, which is closed, there is to be no other.
        let late = self.undropped.contains(&uid) && !self.close(uid);
        let told = if late { ManagerAnswer::Busy } else { self.store(uid, door) };
        if told == ManagerAnswer::Busy {
            self.unkept.insert(uid);
        }
        told == ManagerAnswer::Done
    }

    /// Has it close its copy of a door, for which the agent waits, now or with [`Self::catch_up`].
    pub(super) fn drop(&mut self, uid: u32) {
        self.unkept.remove(&uid);
        if !self.close(uid) {
            self.undropped.insert(uid);
        }
    }

    /// Tells it what it has not taken. Returns whether something is left.
    pub(super) fn catch_up(&mut self, doors: &BTreeMap<u32, OwnedFd>) -> bool {
        if self.ready {
            self.ready();
        }
        for uid in std::mem::take(&mut self.undropped) {
            self.drop_again(uid);
        }
        for uid in std::mem::take(&mut self.unkept) {
            if let Some(door) = doors.get(&uid) {
                self.keep(uid, door.as_fd());
            }
        }
        self.ready || !self.undropped.is_empty() || !self.unkept.is_empty()
    }

    fn drop_again(&mut self, uid: u32) {
        if !self.close(uid) {
            self.undropped.insert(uid);
        }
    }

    /// Returns whether it has been told.
    fn close(&mut self, uid: u32) -> bool {
        let told = self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={}\n", name(uid)), None);
        if told != ManagerAnswer::Busy {
            self.undropped.remove(&uid);
        }
        told != ManagerAnswer::Busy
    }

    fn store(&self, uid: u32, door: BorrowedFd<'_>) -> ManagerAnswer {
        self.tell(&format!("FDSTORE=1\nFDNAME={}\n", name(uid)), Some(door))
    }

    fn tell(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> ManagerAnswer {
        let Some(socket) = &self.socket else { return ManagerAnswer::Done };
        match send(socket.as_fd(), text.as_bytes(), descriptor.as_slice()) {
            Ok(()) => ManagerAnswer::Done,
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::ETOOMANYREFS) => ManagerAnswer::Busy,
            Err(_) => ManagerAnswer::Never,
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
    fn a_manager_that_takes_nothing_is_told_later_in_the_right_order() {
        let directory = tempfile::tempdir().unwrap();
        let taken = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        taken.set_nonblocking(true).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(directory.path().join("notify")).unwrap();
        let mut manager = ServiceManager::at(Some(socket));
        let full = (0..10_000).find(|_| manager.tell("x", None) == ManagerAnswer::Busy);
        assert!(full.is_some());
        let (door, _agents) = crate::sys::passing::pair().unwrap();
        let doors = BTreeMap::from([(7, door.try_clone().unwrap()), (8, door.try_clone().unwrap())]);
        manager.ready();
        manager.drop(7);
        assert!(!manager.keep(7, door.as_fd()) && !manager.keep(8, door.as_fd()) && manager.catch_up(&doors));
        let mut buffer = [0; 100];
        while taken.recv(&mut buffer).is_ok() {}
        assert!(!manager.catch_up(&doors));
        let mut next = || {
            taken
                .recv(&mut buffer)
                .map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned())
                .unwrap()
        };
        let told: Vec<String> = (0..4).map(|_| next()).collect();
        assert_eq!(
            told,
            [
                "READY=1\n",
                "FDSTOREREMOVE=1\nFDNAME=agent-7\n",
                "FDSTORE=1\nFDNAME=agent-7\n",
                "FDSTORE=1\nFDNAME=agent-8\n"
            ]
        );
        drop(taken);
        manager.drop(7);
        assert!(!manager.keep(9, door.as_fd()) && !manager.catch_up(&doors), "nobody is there any more");
    }

    #[test]
    fn only_the_name_of_a_door_names_a_uid() {
        assert_eq!(uid_of(&name(4_000_777)), Some(4_000_777));
        for other in ["agent-", "agent-+1", "agent-01", "agent-4294967296", "lgss-kcm.socket", ""] {
            assert_eq!(uid_of(other), None, "{other}");
        }
    }
}
