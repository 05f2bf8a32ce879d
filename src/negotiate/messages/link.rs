//! One end of the conversation: messages in frames, `u32 host length of the rest · u8 kind · opaque JSON · opaque key ·
//! opaque handle`. Key material is never JSON.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::report::{Chosen, Established, Failed, Message, Report, Timing};
use super::request::Request;
use crate::ctx::HANDLE_LIMIT;
use crate::negotiate::channel::answer::{Answer, WindowProof};
use crate::negotiate::channel::lustre::TOKEN_LIMIT;
use crate::secret::Secret;
use crate::wire::{Reader, WireError, Writer};

/// Longest frame in bytes, the length field not counted.
const FRAME_LIMIT: usize = BODY_LIMIT + 2 * CONTROL_LIMIT;
/// Longest token or cache.
const BODY_LIMIT: usize = 256 * 1024;
/// Longest JSON; what there was to choose from takes up most of it.
const CONTROL_LIMIT: usize = 16 * 1024;
const KEY_LIMIT: usize = 64;

/// What comes with a server's token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyControl {
    gss_major: u32,
    gss_minor: u32,
    window: u32,
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
const KIND_TOKEN: u8 = 4;
const KIND_REPLY: u8 = 5;
const KIND_CHOSEN: u8 = 6;
const KIND_AGAIN: u8 = 7;

/// One end of the conversation.
#[derive(Debug)]
pub struct Link(UnixStream);

impl Link {
    /// Over a connected stream socket.
    pub fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// The same end by another descriptor.
    ///
    /// # Errors
    /// [`MessageError::Socket`].
    pub fn another(&self) -> Result<Self, MessageError> {
        self.0.try_clone().map(Self).map_err(MessageError::Socket)
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

    /// Worker to monitor: a token for the server, and what has taken how long so far.
    ///
    /// # Errors
    /// [`MessageError`] if it cannot be encoded or sent.
    pub fn send_token(&mut self, token: &Secret, stages: &[Timing]) -> Result<(), MessageError> {
        self.send(KIND_TOKEN, &stages, token.expose(), &[])
    }

    /// Worker to monitor: machine credentials are there, with a cache of them to store.
    ///
    /// # Errors
    /// [`MessageError`] if it cannot be encoded or sent.
    pub fn send_chosen(&mut self, chosen: Chosen, cache: Option<&Secret>) -> Result<(), MessageError> {
        self.send(KIND_CHOSEN, &chosen, cache.map(Secret::expose).unwrap_or_default(), &[])
    }

    /// Monitor to worker: the server's answer.
    ///
    /// # Errors
    /// [`MessageError`] if it cannot be encoded or sent.
    pub fn send_reply(&mut self, answer: &Answer) -> Result<(), MessageError> {
        let Answer { gss_major, gss_minor, window, .. } = *answer;
        let control = ReplyControl { gss_major, gss_minor, window };
        self.send(KIND_REPLY, &control, answer.token.expose(), &answer.handle)
    }

    /// Monitor to worker: the server does not answer; a new exchange may be begun.
    ///
    /// # Errors
    /// [`MessageError`] if it cannot be sent.
    pub fn send_again(&mut self) -> Result<(), MessageError> {
        self.send(KIND_AGAIN, &(), &[], &[])
    }

    /// Worker, waiting for the server's answer; `None` if there is none and it may begin anew.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn receive_reply(&mut self, deadline: Instant) -> Result<Option<Answer>, MessageError> {
        let frame = self.receive(deadline)?;
        match Frame::parse(&frame)? {
            Frame { kind: KIND_REPLY, control, key: token, handle } => {
                let ReplyControl { gss_major, gss_minor, window } = parse_control(control)?;
                let (handle, token) = (handle.to_vec(), Secret::new(token.to_vec()));
                let window_proof = WindowProof::TheKernels;
                Ok(Some(Answer { handle, gss_major, gss_minor, window, token, window_proof }))
            }
            Frame { kind: KIND_AGAIN, key: [], handle: [], .. } => Ok(None),
            other => Err(MessageError::Unexpected(other.kind)),
        }
    }

    /// Monitor, waiting for what the worker says next.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn receive_message(&mut self, deadline: Instant) -> Result<Message, MessageError> {
        let frame = self.receive(deadline)?;
        match Frame::parse(&frame)? {
            Frame { kind: KIND_ESTABLISHED, control, key, handle } if key.len() <= KEY_LIMIT => {
                Ok(Message::Report(Report::Established {
                    context: Box::new(parse_control(control)?),
                    base_key: Secret::new(key.to_vec()),
                    handle: handle.to_vec(),
                }))
            }
            Frame { kind: KIND_FAILED, control, key: [], handle: [] } => {
                Ok(Message::Report(Report::Failed(parse_control(control)?)))
            }
            Frame { kind: KIND_CHOSEN, control, key: cache, handle: [] } => {
                Ok(Message::Chosen(parse_control(control)?, Secret::new(cache.to_vec())))
            }
            Frame { kind: KIND_TOKEN, control, key: token, handle: [] }
                if (1..=TOKEN_LIMIT).contains(&token.len()) =>
            {
                Ok(Message::Token(Secret::new(token.to_vec()), parse_control(control)?))
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
        let length = 1 + 12 + control.len() + key.len() + handle.len();
        let mut frame = Writer::with_capacity(4 + length);
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
    /// Or a token, or a cache.
    key: &'a [u8],
    handle: &'a [u8],
}

impl<'a> Frame<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let frame = Self {
            kind: reader.u8()?,
            control: reader.opaque_host(CONTROL_LIMIT)?,
            key: reader.opaque_host(BODY_LIMIT)?,
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
mod tests;
