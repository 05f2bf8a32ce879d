//! Everything that monitor and worker say to each other, on a stream socket that only they hold.
//!
//! | message       | from    | count | content                                                    |
//! |---------------|---------|-------|------------------------------------------------------------|
//! | `Request`     | monitor | 1     | JSON [`Request`]                                           |
//! | `Established` | worker  | ≤ 1   | JSON [`Established`], base key, handle                     |
//! | `Failed`      | worker  | ≤ 1   | JSON [`Failed`]                                            |
//!
//! One of the last two ends the conversation; anything else, too long, or out of order ends the worker. A frame is
//! `u32 host length of the rest · u8 kind · opaque JSON · opaque key · opaque handle`. Key material is never JSON.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::config::Enctypes;
use crate::ctx::HANDLE_LIMIT;
use crate::ctx::request::{Level, Mechanism, RpcChannel, Service};
use crate::event::{Failure, Stage};
use crate::secret::Secret;
use crate::wire::{Reader, WireError, Writer};

/// Longest frame in bytes, the length field not counted.
const FRAME_LIMIT: usize = 8192;
const CONTROL_LIMIT: usize = 4096;
const KEY_LIMIT: usize = 64;

/// What the worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// How to authenticate.
    pub mechanism: Mechanism,
    /// To whom.
    pub service: Service,
    /// Over what.
    pub channel: RpcChannel,
    /// Protection to ask for.
    pub level: Level,
    /// Encryption types that the context may have.
    pub enctypes: Enctypes,
    /// Limits of the phases.
    pub limits: Limits,
}

/// Time that each phase may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Name resolution and KDC together.
    pub kdc: Duration,
    /// Connecting to the server.
    pub connect: Duration,
    /// One round of tokens with the server.
    pub round: Duration,
}

/// A negotiated context as the worker reports it; the monitor believes nothing of it before checking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Established {
    /// Encryption type of the base key.
    pub enctype: u32,
    /// Whether the base key is the acceptor's subkey.
    pub acceptor_subkey: bool,
    /// End of the context, seconds since the epoch.
    pub endtime: u32,
    /// First sequence number of our tokens.
    pub send_sequence: u64,
    /// Seconds that the context remains valid.
    pub lifetime: u32,
    /// The server's sequence window.
    pub window: u32,
    /// Who we are to the server and which cache that came from, for the log.
    pub credential: String,
    /// What took how long.
    pub stages: Vec<Timing>,
}

/// The worker's failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// What went wrong.
    pub failure: Failure,
    /// What took how long.
    pub stages: Vec<Timing>,
}

/// Duration of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The stage.
    pub stage: Stage,
    /// Its duration in microseconds.
    pub micros: u32,
}

/// A message of the worker.
#[derive(Debug)]
pub enum Report {
    /// The context is there.
    Established {
        /// Its typed fields.
        context: Established,
        /// Its base key.
        base_key: Secret,
        /// The server's handle.
        handle: Vec<u8>,
    },
    /// There will be none.
    Failed(Failed),
}

/// Why no message could be had.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The other side has closed the socket, as it does when it dies.
    #[error("the other side ended without a message")]
    Closed,
    /// No message in time.
    #[error("no message in time")]
    TimedOut,
    /// Not a frame of the table.
    #[error("malformed message: {0}")]
    Layout(#[from] WireError),
    /// The control part is not what its kind says.
    #[error("malformed message: {0}")]
    Control(#[from] serde_json::Error),
    /// A kind that this side does not accept now.
    #[error("unexpected message of kind {0}")]
    Unexpected(u8),
    /// The socket failed.
    #[error("message socket: {0}")]
    Socket(#[source] io::Error),
}

const KIND_REQUEST: u8 = 1;
const KIND_ESTABLISHED: u8 = 2;
const KIND_FAILED: u8 = 3;

/// One end of the conversation.
#[derive(Debug)]
pub struct Link(UnixStream);

impl Link {
    /// Over a connected stream socket.
    pub fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Monitor to worker.
    ///
    /// # Errors
    /// [`MessageError`] if it cannot be encoded or sent.
    pub fn send_request(&mut self, request: &Request) -> Result<(), MessageError> {
        self.send(KIND_REQUEST, request, &[], &[])
    }

    /// Worker, waiting for its one request.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn receive_request(&mut self, deadline: Instant) -> Result<Request, MessageError> {
        let frame = self.receive(deadline)?;
        match Frame::parse(&frame)? {
            Frame { kind: KIND_REQUEST, control, key: [], handle: [] } => parse_control(control),
            other => Err(MessageError::Unexpected(other.kind)),
        }
    }

    /// Worker to monitor: success.
    ///
    /// # Errors
    /// [`MessageError`] if it cannot be encoded or sent.
    pub fn send_established(
        &mut self,
        context: &Established,
        base_key: &Secret,
        handle: &[u8],
    ) -> Result<(), MessageError> {
        self.send(KIND_ESTABLISHED, context, base_key.expose(), handle)
    }

    /// Worker or launcher to monitor: failure.
    ///
    /// # Errors
    /// [`MessageError`] if it cannot be encoded or sent.
    pub fn send_failed(&mut self, failed: &Failed) -> Result<(), MessageError> {
        self.send(KIND_FAILED, failed, &[], &[])
    }

    /// Monitor, waiting for the worker's one report.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn receive_report(&mut self, deadline: Instant) -> Result<Report, MessageError> {
        let frame = self.receive(deadline)?;
        match Frame::parse(&frame)? {
            Frame { kind: KIND_ESTABLISHED, control, key, handle } => Ok(Report::Established {
                context: parse_control(control)?,
                base_key: Secret::new(key.to_vec()),
                handle: handle.to_vec(),
            }),
            Frame { kind: KIND_FAILED, control, key: [], handle: [] } => {
                Ok(Report::Failed(parse_control(control)?))
            }
            other => Err(MessageError::Unexpected(other.kind)),
        }
    }

    fn send(
        &mut self,
        kind: u8,
        control: &impl Serialize,
        key: &[u8],
        handle: &[u8],
    ) -> Result<(), MessageError> {
        let control = serde_json::to_vec(control)?;
        let mut frame = Writer::with_capacity(FRAME_LIMIT);
        let length = 1 + 12 + control.len() + key.len() + handle.len();
        if length > FRAME_LIMIT {
            return Err(WireError::TooLong(length, FRAME_LIMIT).into());
        }
        frame.u32_host(u32::try_from(length).map_err(|_| WireError::TooLong(length, FRAME_LIMIT))?).u8(kind);
        frame.opaque_host(&control)?.opaque_host(key)?.opaque_host(handle)?;
        self.0.write_all(frame.as_slice()).map_err(MessageError::Socket)
    }

    fn receive(&mut self, deadline: Instant) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        let mut length = [0; 4];
        self.fill(&mut length, deadline)?;
        let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_LIMIT {
            return Err(WireError::TooLong(length, FRAME_LIMIT).into());
        }
        let mut frame = Zeroizing::new(vec![0; length]);
        self.fill(&mut frame, deadline)?;
        Ok(frame)
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), MessageError> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(MessageError::TimedOut);
            }
            self.0.set_read_timeout(Some(left)).map_err(MessageError::Socket)?;
            match self.0.read(buffer) {
                Ok(0) => return Err(MessageError::Closed),
                Ok(n) => buffer = buffer.get_mut(n..).unwrap_or_default(),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(MessageError::Closed),
                Err(e) => return Err(MessageError::Socket(e)),
            }
        }
        Ok(())
    }
}

struct Frame<'a> {
    kind: u8,
    control: &'a [u8],
    key: &'a [u8],
    handle: &'a [u8],
}

impl<'a> Frame<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let frame = Self {
            kind: reader.u8()?,
            control: reader.opaque_host(CONTROL_LIMIT)?,
            key: reader.opaque_host(KEY_LIMIT)?,
            handle: reader.opaque_host(HANDLE_LIMIT)?,
        };
        reader.finish()?;
        Ok(frame)
    }
}

fn parse_control<T: DeserializeOwned>(control: &[u8]) -> Result<T, MessageError> {
    Ok(serde_json::from_slice(control)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cause;

    fn pair() -> (Link, Link) {
        let (a, b) = UnixStream::pair().unwrap();
        (Link::new(a), Link::new(b))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn failed() -> Failed {
        Failed {
            failure: Failure::new(Stage::Kdc, Cause::KdcDown, "no KDC"),
            stages: vec![Timing { stage: Stage::Kdc, micros: 7 }],
        }
    }

    #[test]
    fn a_report_arrives_as_it_was_sent() {
        let (mut monitor, mut worker) = pair();
        worker.send_failed(&failed()).unwrap();
        let Report::Failed(read) = monitor.receive_report(soon()).unwrap() else { panic!("not a failure") };
        assert_eq!(read, failed());
    }

    #[test]
    fn a_worker_cannot_send_what_only_the_monitor_sends() {
        let (mut monitor, mut worker) = pair();
        worker.send(KIND_REQUEST, &failed(), &[], &[]).unwrap();
        assert!(matches!(monitor.receive_report(soon()), Err(MessageError::Unexpected(KIND_REQUEST))));
    }

    #[test]
    fn oversized_unknown_and_cut_frames_are_refused() {
        let (mut monitor, mut worker) = pair();
        worker.0.write_all(&u32::try_from(FRAME_LIMIT + 1).unwrap().to_ne_bytes()).unwrap();
        assert!(matches!(monitor.receive_report(soon()), Err(MessageError::Layout(WireError::TooLong(..)))));
        let (mut monitor, mut worker) = pair();
        worker.send(9, &(), &[], &[]).unwrap();
        assert!(matches!(monitor.receive_report(soon()), Err(MessageError::Unexpected(9))));
        let (mut monitor, mut worker) = pair();
        worker.0.write_all(&[8, 0, 0, 0, 2]).unwrap();
        drop(worker);
        assert!(matches!(monitor.receive_report(soon()), Err(MessageError::Closed)));
    }

    #[test]
    fn a_silent_worker_does_not_hold_the_monitor_past_its_deadline() {
        let (mut monitor, _worker) = pair();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(matches!(monitor.receive_report(deadline), Err(MessageError::TimedOut)));
    }
}
