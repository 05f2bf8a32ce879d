//! What the front tells its monitor: one message, with the descriptors that the negotiation needs of the requester.
//!
//! `u8 kind`, then for served: `u8 acting · u32 host microseconds`, with the descriptors root and network; for
//! refused: the failure as JSON. Both sides are the same image on the same machine.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::authorise::Acting;
use crate::event::Failure;
use crate::sys::sockets;
use crate::wire::{Reader, Writer};

/// Room for the longest verdict.
const LIMIT: usize = 2048;
const SERVED: u8 = 1;
const REFUSED: u8 = 2;

/// The front's answer to the requester.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The key has been instantiated and is the monitor's to finish.
    Served(Served),
    /// The key has been rejected; only the log remains to be written.
    Refused(Failure),
}

/// What the front found and opened.
#[derive(Debug)]
pub(super) struct Served {
    /// For whom the requester asks.
    pub acting: Acting,
    /// How long the requester was kept, in microseconds since the front started.
    pub micros: u32,
    /// The requester's root directory (O_PATH).
    pub root: OwnedFd,
    /// The requester's network namespace.
    pub network: OwnedFd,
}

/// Tells the monitor. If it has gone, nobody is left to tell; the key's timeout does the rest.
pub(super) fn send(socket: &OwnedFd, verdict: &Verdict) -> Result<(), Errno> {
    let mut message = Writer::with_capacity(16);
    match verdict {
        Verdict::Served(served) => {
            let acting = u8::from(served.acting == Acting::ForAnother);
            message.u8(SERVED).u8(acting).u32_host(served.micros);
            sockets::send(socket.as_fd(), message.as_slice(), &[served.root.as_fd(), served.network.as_fd()])
        }
        Verdict::Refused(failure) => {
            let failure = serde_json::to_vec(failure).map_err(|_| Errno::EINVAL)?;
            sockets::send(socket.as_fd(), message.u8(REFUSED).bytes(&failure).as_slice(), &[])
        }
    }
}

/// Receives the front's verdict; `None` if it ended without one.
///
/// # Errors
/// Those of recvmsg(2), EPROTO for a message that no front sends.
pub(super) fn receive(socket: &OwnedFd) -> Result<Option<Verdict>, Errno> {
    let mut buffer = [0; LIMIT];
    let (message, descriptors) = sockets::receive(socket.as_fd(), &mut buffer)?;
    if message.is_empty() {
        return Ok(None);
    }
    parse(message, descriptors).map(Some).ok_or(Errno::EPROTO)
}

fn parse(message: &[u8], descriptors: Vec<OwnedFd>) -> Option<Verdict> {
    let mut reader = Reader::new(message);
    match reader.u8().ok()? {
        SERVED => {
            let acting = if reader.u8().ok()? == 0 { Acting::ForItself } else { Acting::ForAnother };
            let micros = reader.u32_host().ok()?;
            reader.finish().ok()?;
            let [root, network] = <[OwnedFd; 2]>::try_from(descriptors).ok()?;
            Some(Verdict::Served(Served { acting, micros, root, network }))
        }
        REFUSED => serde_json::from_slice(reader.rest()).ok().map(Verdict::Refused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, Stage};
    use std::fs::File;

    #[test]
    fn a_verdict_arrives_with_its_descriptors() {
        let (front, monitor) = sockets::message_pair().unwrap();
        let open = || OwnedFd::from(File::open("/").unwrap());
        let served = Served { acting: Acting::ForAnother, micros: 5, root: open(), network: open() };
        send(&front, &Verdict::Served(served)).unwrap();
        send(&front, &Verdict::Refused(Failure::new(Stage::Authorise, Cause::Refused, "S2: no"))).unwrap();
        drop(front);
        let Some(Verdict::Served(read)) = receive(&monitor).unwrap() else { panic!("not served") };
        assert_eq!((read.acting, read.micros), (Acting::ForAnother, 5));
        assert!(matches!(receive(&monitor).unwrap(), Some(Verdict::Refused(f)) if f.detail == "S2: no"));
        assert!(receive(&monitor).unwrap().is_none());
    }
}
