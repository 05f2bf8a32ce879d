//! `lgss_agent` behind a door that the test holds, as `lgss_kcm` does, and a client that speaks its protocol byte by byte.
//!
//! The agent runs as the site's user and is told to serve uid 0, which the tests have.

use super::process::{Daemon, command};
use super::site::{Site, install};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, send, sendmsg, socketpair,
};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Status codes of replies.
pub(crate) const DONE: i32 = 0;
pub(crate) const NOT_FOUND: i32 = -1_765_328_243;
pub(crate) const END: i32 = -1_765_328_242;
pub(crate) const NO_CACHE: i32 = -1_765_328_189;
pub(crate) const FULL: i32 = -1_765_328_186;
pub(crate) const MALFORMED: i32 = -1_765_328_185;
pub(crate) const UNSUPPORTED: i32 = -1_765_328_137;

/// The program under test.
pub(crate) fn agent_program() -> String {
    std::env::var("LGSS_AGENT_BIN").unwrap_or(env!("CARGO_BIN_EXE_lgss_agent").to_owned())
}

/// Makes descriptor 3 of what is its input, and runs the rest.
const WITH_DOOR: &str = "exec \"$@\" 3<&0 </dev/null";

/// An agent with a door. It ends on drop.
#[derive(Debug)]
pub(crate) struct DoorAgent {
    daemon: Daemon,
    door: OwnedFd,
}

impl DoorAgent {
    /// One that serves this test.
    pub(crate) fn start(site: &Site) -> Self {
        Self::start_for(site, 0)
    }

    /// One that serves connections of this uid, with the site's settings.
    pub(crate) fn start_for(site: &Site, uid: u32) -> Self {
        install(agent_program(), &site.path("lgss_agent"), 0o711);
        let (door, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )
        .unwrap();
        let mut program = command("setpriv");
        program.arg(format!("--reuid={}", site.uid())).arg(format!("--regid={}", site.uid()));
        program.args(["--clear-groups", "--", "sh", "-c", WITH_DOOR, "sh"]);
        program.arg(site.path("lgss_agent")).arg("--config").arg(site.path("lgss.toml"));
        program.args(["--door", "3", "--for-uid", &uid.to_string()]);
        site.open_log();
        Self { daemon: Daemon::start_given(program, theirs.into(), &site.path(""), "agent.log"), door }
    }

    /// A new connection, which the agent gets by the door.
    pub(crate) fn connect(&self) -> KcmClient {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.pass(1, &[theirs.as_raw_fd()]);
        KcmClient::over(ours)
    }

    /// Sends a message with descriptors.
    pub(crate) fn pass(&self, kind: u8, descriptors: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &rights };
        let bytes = [kind];
        sendmsg::<()>(self.door.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)
            .unwrap();
    }

    /// Sends bytes by the door.
    pub(crate) fn say(&self, bytes: &[u8]) {
        send(self.door.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).unwrap();
    }

    /// The agent's next message, if there is one: `Some(empty)` when it has closed its end.
    pub(crate) fn heard(&self) -> Option<Vec<u8>> {
        let mut bytes = [0; 64];
        let length = recv(self.door.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT).ok()?;
        Some(bytes[..length].to_vec())
    }

    /// Closes the door; the process is still watched.
    pub(crate) fn close_door(self) -> Daemon {
        self.daemon
    }

    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct KcmClient {
    socket: UnixStream,
}

impl KcmClient {
    pub(crate) fn over(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { socket }
    }

    pub(crate) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Sends bytes as they are. The agent may have closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Status and values of the next reply; `None` if the connection is closed.
    pub(crate) fn reply(&mut self) -> Option<(i32, Vec<u8>)> {
        let mut head = [0; 12];
        self.socket.read_exact(&mut head).ok()?;
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        assert_eq!(word(4), 0, "the transport's status");
        let mut values = vec![0; usize::try_from(word(0)).unwrap() - 4];
        self.socket.read_exact(&mut values).ok()?;
        Some((word(8).cast_signed(), values))
    }

    /// Waits until a reply has begun to come, and leaves it there.
    pub(crate) fn peek(&self) {
        let length = recv(self.socket.as_raw_fd(), &mut [0; 12], MsgFlags::MSG_PEEK).unwrap();
        assert_ne!(length, 0, "the connection was closed");
    }

    /// Makes a request and takes its reply; `None` if the connection is closed.
    pub(crate) fn try_to(&mut self, opcode: u16, parameters: &[u8]) -> Option<(i32, Vec<u8>)> {
        self.send(&request(opcode, parameters)).ok()?;
        self.reply()
    }

    /// Makes a request and takes its reply.
    #[track_caller]
    pub(crate) fn call(&mut self, opcode: u16, parameters: &[u8]) -> (i32, Vec<u8>) {
        self.send(&request(opcode, parameters)).unwrap();
        self.reply().expect("the connection was closed")
    }

    /// The same, which must succeed.
    #[track_caller]
    pub(crate) fn done(&mut self, opcode: u16, parameters: &[u8]) -> Vec<u8> {
        let (status, values) = self.call(opcode, parameters);
        assert_eq!(status, DONE, "operation {opcode}");
        values
    }

    /// Whether the agent has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.socket.read(&mut [0]) {
            Ok(length) => length == 0,
            // A read with a timeout is not begun again by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.is_closed(),
            Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        }
    }
}

/// A request with its header.
pub(crate) fn request(opcode: u16, parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(parameters.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &[2, 0], &opcode.to_be_bytes(), parameters].concat()
}

/// `u32 length` and the bytes.
fn opaque(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A principal of the realm `T`.
pub(crate) fn principal(name: &str) -> Vec<u8> {
    let components: Vec<_> = name.split('/').collect();
    let mut bytes = [1, u32::try_from(components.len()).unwrap()].map(u32::to_be_bytes).concat();
    for text in [&"T"].into_iter().chain(&components) {
        bytes.extend(opaque(text.as_bytes()));
    }
    bytes
}

/// The name of a cache, then more parameters.
pub(crate) fn named(label: &str, rest: &[u8]) -> Vec<u8> {
    [label.as_bytes(), &[0], rest].concat()
}

/// A credential of `alice` for this server with a ticket of so many bytes, which ends then.
pub(crate) fn credential(server: &str, size: usize, end: u32) -> Vec<u8> {
    let mut bytes = [principal("alice"), principal(server), vec![0, 18]].concat();
    bytes.extend(opaque(&[7; 32]));
    bytes.extend([1, 1, end, 0].map(u32::to_be_bytes).concat());
    bytes.extend([0; 1 + 4 + 8]);
    bytes.extend(opaque(&vec![b't'; size]));
    bytes.extend(opaque(&[]));
    bytes
}
