//! Messages in frames: `u32 host length of the rest · u8 kind · opaque JSON · opaque key · opaque handle`. Key material is
//! never JSON.
//!
//! Called by the two ends. Invariant: the type of a link names the kinds it sends and those it receives, so neither end can
//! send the other's messages.

use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::class::{OverPipe, over_pipe};
use crate::ctx::HANDLE_LIMIT;
use crate::secret::Secret;
use crate::sys::duplex::Duplex;
use crate::wire::{Reader, WireError, Writer};

/// Longest frame in bytes, the length field not counted.
pub(super) const FRAME_LIMIT: usize = BODY_LIMIT + 2 * CONTROL_LIMIT;
/// How long a message may take that has no deadline. A reader that takes longer is broken.
const UNHURRIED: Duration = Duration::from_secs(3600);
/// Longest token or cache.
const BODY_LIMIT: usize = 256 * 1024;
/// Longest JSON. Most of it lists the credentials considered.
const CONTROL_LIMIT: usize = 16 * 1024;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side has closed its pipes, as it does when it dies.
    #[error("the other side ended without a message")]
    Closed,
    /// No message in time.
    #[error("no message in time")]
    TimedOut,
    /// The other side did not read in time.
    #[error("the other side does not read")]
    Unread,
    /// The bytes are not a frame.
    #[error("malformed message: {0}")]
    Layout(#[from] WireError),
    /// The JSON does not fit the kind.
    #[error("malformed message: {0}")]
    Control(#[from] serde_json::Error),
    /// A kind that this side does not accept now.
    #[error("unexpected message of kind {0}")]
    Unexpected(u8),
    /// A pipe failed.
    #[error("message pipe: {0}")]
    Pipe(#[source] io::Error),
}

/// The messages of one side.
pub(super) trait FrameKind: Copy + 'static {
    /// All kinds.
    const ALL: &'static [Self];

    /// The number in the frame.
    fn number(self) -> u8;

    /// # Errors
    /// [`FrameError::Unexpected`] for a number that is not this side's.
    fn of_number(number: u8) -> Result<Self, FrameError> {
        let known = Self::ALL.iter().copied().find(|kind| kind.number() == number);
        known.ok_or(FrameError::Unexpected(number))
    }
}

/// The monitor's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MonitorKind {
    Request,
    Reply,
    Again,
}

impl FrameKind for MonitorKind {
    const ALL: &'static [Self] = &[Self::Request, Self::Reply, Self::Again];

    fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Reply => 5,
            Self::Again => 7,
        }
    }
}

/// The worker's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerKind {
    Established,
    Failed,
    Token,
    Ready,
    Shared,
    TestedPrime,
}

impl FrameKind for WorkerKind {
    const ALL: &'static [Self] =
        &[Self::Established, Self::Failed, Self::Token, Self::Ready, Self::Shared, Self::TestedPrime];

    fn number(self) -> u8 {
        match self {
            Self::Established => 2,
            Self::Failed => 3,
            Self::Token => 4,
            Self::Ready => 6,
            Self::Shared => 8,
            Self::TestedPrime => 9,
        }
    }
}

/// The JSON that comes with a server's token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplyControl {
    pub(super) gss_major: u32,
    pub(super) gss_minor: u32,
    pub(super) window: u32,
}

/// An end of two pipes, typed by the kinds it sends and receives.
#[derive(Debug)]
pub(super) struct Link<Sends, Hears> {
    pipes: Duplex,
    kinds: PhantomData<(Sends, Hears)>,
}

impl<Sends: FrameKind, Hears: FrameKind> Link<Sends, Hears> {
    pub(super) fn over(pipes: Duplex) -> Self {
        Self { pipes, kinds: PhantomData }
    }

    /// The same end by other descriptors.
    #[cfg(feature = "gss")]
    pub(super) fn another(&self) -> Result<Self, FrameError> {
        self.pipes.try_clone().map(Self::over).map_err(FrameError::Pipe)
    }

    pub(super) fn send<'a, T>(
        &mut self,
        kind: Sends,
        control: &'a T,
        body: Body<'_>,
    ) -> Result<(), FrameError>
    where
        OverPipe<'a, T>: Serialize,
    {
        self.send_by(Instant::now() + UNHURRIED, kind, control, body)
    }

    /// The same by a deadline, for a reader that may not read.
    pub(super) fn send_by<'a, T>(
        &mut self,
        deadline: Instant,
        kind: Sends,
        control: &'a T,
        body: Body<'_>,
    ) -> Result<(), FrameError>
    where
        OverPipe<'a, T>: Serialize,
    {
        let control = over_pipe(control)?;
        let parts = [control.expose(), body.key.map(Secret::expose).unwrap_or_default(), body.handle];
        write_frame(&mut self.pipes, deadline, kind.number(), parts)
    }

    /// The bytes of the next frame, for [`ReceivedFrame::parse`].
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<ReceivedFrame<Hears>, FrameError> {
        let bytes = read_frame(&mut self.pipes, deadline)?;
        Ok(ReceivedFrame { bytes, kinds: PhantomData })
    }
}

/// What is sent after the JSON of a frame.
#[derive(Clone, Copy, Default)]
pub(super) struct Body<'a> {
    /// A key, a token or a cache.
    pub(super) key: Option<&'a Secret>,
    pub(super) handle: &'a [u8],
}

#[cfg(feature = "gss")]
impl<'a> Body<'a> {
    /// Without a handle.
    pub(super) fn of(key: &'a Secret) -> Self {
        Self { key: Some(key), handle: &[] }
    }
}

/// A received frame, not yet parsed.
pub(super) struct ReceivedFrame<Hears> {
    bytes: Zeroizing<Vec<u8>>,
    kinds: PhantomData<Hears>,
}

/// A frame's parts.
pub(super) struct Frame<'a, Hears> {
    pub(super) kind: Hears,
    pub(super) control: &'a [u8],
    /// A key, a token or a cache.
    pub(super) key: &'a [u8],
    pub(super) handle: &'a [u8],
}

impl<Hears: FrameKind> ReceivedFrame<Hears> {
    pub(super) fn parse(&self) -> Result<Frame<'_, Hears>, FrameError> {
        let mut reader = Reader::new(&self.bytes);
        let number = reader.u8()?;
        let control = reader.opaque_host(CONTROL_LIMIT)?;
        let key = reader.opaque_host(BODY_LIMIT)?;
        let handle = reader.opaque_host(HANDLE_LIMIT)?;
        reader.finish()?;
        Ok(Frame { kind: Hears::of_number(number)?, control, key, handle })
    }
}

impl<Hears: FrameKind> Frame<'_, Hears> {
    /// The error for a frame of this kind that is not expected now, or has wrong parts.
    pub(super) fn unexpected(&self) -> FrameError {
        FrameError::Unexpected(self.kind.number())
    }
}

/// Parses a frame's JSON.
pub(super) fn parse_control<T: DeserializeOwned>(control: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_slice(control)?)
}

fn write_frame(pipes: &mut Duplex, deadline: Instant, kind: u8, parts: [&[u8]; 3]) -> Result<(), FrameError> {
    write_all(pipes, deadline, encode_frame(kind, parts)?.as_slice())
}

fn write_all(pipes: &mut Duplex, deadline: Instant, mut bytes: &[u8]) -> Result<(), FrameError> {
    while !bytes.is_empty() {
        match pipes.write(bytes, deadline) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(FrameError::Unread),
            Err(error) => return Err(FrameError::Pipe(error)),
        }
    }
    Ok(())
}

fn encode_frame(kind: u8, parts: [&[u8]; 3]) -> Result<Writer, FrameError> {
    let length = parts.iter().fold(1, |length, part| length + 4 + part.len());
    let mut frame = Writer::with_capacity(4 + length);
    if length > FRAME_LIMIT {
        return Err(WireError::TooLong(length, FRAME_LIMIT).into());
    }
    frame.u32_host(u32::try_from(length).map_err(|_| WireError::TooLong(length, FRAME_LIMIT))?).u8(kind);
    for part in parts {
        frame.opaque_host(part)?;
    }
    Ok(frame)
}

fn read_frame(pipes: &mut Duplex, deadline: Instant) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut length = [0; 4];
    fill(pipes, deadline, &mut length)?;
    let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_LIMIT {
        return Err(WireError::TooLong(length, FRAME_LIMIT).into());
    }
    let mut frame = Zeroizing::new(vec![0; length]);
    fill(pipes, deadline, &mut frame)?;
    Ok(frame)
}

fn fill(pipes: &mut Duplex, deadline: Instant, mut buffer: &mut [u8]) -> Result<(), FrameError> {
    while !buffer.is_empty() {
        match pipes.read(buffer, deadline) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(n) => buffer = buffer.get_mut(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(FrameError::TimedOut),
            Err(error) => return Err(FrameError::Pipe(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
