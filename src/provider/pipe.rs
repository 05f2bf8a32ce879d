//! The messages between a command and `lgss_helper`: one JSON text on a line each, over the helper's standard input and output, which
//! are one local stream socket (docs/formats.md, "Helper").
//!
//! Invariant: neither side waits beyond its deadline or keeps more than the limit; what may hold a secret is in one buffer that
//! is never moved, and zeroed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::operation::{Delegable, Delegated, Undone};
use crate::secret::Secret;
use crate::sys::process::{readable, writable};

/// Longest request in bytes.
pub(crate) const REQUEST_BYTES: usize = 1024 * 1024;
/// Longest answer in bytes: contexts of many thousand users.
pub(crate) const REPLY_BYTES: usize = 64 * 1024 * 1024;
/// The version that both sides must be of.
pub(crate) const PIPE_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The first request.
pub(crate) const PING: &str = "ping";

/// A request as it is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceivedCall<P> {
    #[serde(rename = "method")]
    _method: String,
    payload: P,
}

/// The first request and its answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ping {
    /// Of the program that sends this.
    pub version: String,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HelperReply<A> {
    /// It was done.
    Answer(A),
    /// It was not.
    Refusal(Undone),
}

/// Why a message did not come or go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    /// The other side has closed its end.
    #[error("the other side has ended")]
    Ended,
    /// It is too slow.
    #[error("the other side is too slow")]
    Slow,
    /// It is too long.
    #[error("a message of more than {0} bytes")]
    Long(usize),
    /// It makes no sense.
    #[error("a message that makes no sense: {0}")]
    Senseless(String),
    /// The socket fails.
    #[error("the socket: {}", .0.desc())]
    Socket(Errno),
}

/// A request that has come, of which only the method is known yet.
#[derive(Debug)]
pub(crate) struct PipeText(Zeroizing<Vec<u8>>);

#[cfg(feature = "test-programs")]
impl PipeText {
    /// One with these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec().into())
    }

    /// A request as it would be sent.
    pub(super) fn call(method: &'static str, payload: &Secret) -> Self {
        Self(called(method, payload))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PipeText {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The method that it names.
    ///
    /// # Errors
    /// [`PipeError::Senseless`].
    pub(crate) fn method(&self) -> Result<String, PipeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            method: String,
            #[serde(rename = "payload")]
            _payload: IgnoredAny,
        }
        parse::<Named>(&self.0).map(|named| named.method)
    }

    /// The first request.
    ///
    /// # Errors
    /// [`PipeError::Senseless`].
    pub(crate) fn ping(&self) -> Result<Ping, PipeError> {
        parse::<ReceivedCall<Ping>>(&self.0).map(|call| call.payload)
    }

    /// The operation, marked as forwarded: nothing in the message can set or clear the mark.
    ///
    /// # Errors
    /// [`PipeError::Senseless`].
    pub(crate) fn operation<O: Delegable>(&self) -> Result<Delegated<O>, PipeError> {
        parse::<ReceivedCall<O>>(&self.0).map(|call| Delegated::forwarded(call.payload))
    }

    /// The reply that it is.
    ///
    /// # Errors
    /// [`PipeError::Senseless`].
    pub(crate) fn reply<A: DeserializeOwned>(&self) -> Result<HelperReply<A>, PipeError> {
        parse(&self.0)
    }
}

/// Says where the mistake is, and not what stands there: that may be a secret.
fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, PipeError> {
    serde_json::from_slice(text).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is missing, unknown or of another kind",
            _ => "it is no JSON",
        };
        PipeError::Senseless(format!("{what}, near byte {}", error.column()))
    })
}

/// One end.
#[derive(Debug)]
pub(crate) struct Pipe<I, O> {
    incoming: I,
    outgoing: O,
    /// What has come after the end of the last message.
    ahead: Zeroizing<Vec<u8>>,
}

impl<I: AsFd, O: AsFd> Pipe<I, O> {
    /// An end that reads here and writes there.
    pub(crate) fn over(incoming: I, outgoing: O) -> Self {
        Self { incoming, outgoing, ahead: Zeroizing::default() }
    }

    /// Sends a request for a method.
    ///
    /// # Errors
    /// [`PipeError`].
    pub(crate) fn call(
        &mut self,
        method: &'static str,
        payload: &Secret,
        deadline: Instant,
    ) -> Result<(), PipeError> {
        let text = called(method, payload);
        if text.len() > REQUEST_BYTES {
            Err(PipeError::Long(REQUEST_BYTES))
        } else {
            self.send(text, deadline)
        }
    }

    /// Sends a reply.
    ///
    /// # Errors
    /// [`PipeError`].
    pub(crate) fn answer<A: Serialize>(
        &mut self,
        reply: &HelperReply<A>,
        deadline: Instant,
    ) -> Result<(), PipeError> {
        let mut text = Zeroizing::new(Vec::new());
        serde_json::to_writer(&mut *text, reply)
            .map_err(|_| PipeError::Senseless("it cannot be written as JSON".to_owned()))?;
        if text.len() > REPLY_BYTES { Err(PipeError::Long(REPLY_BYTES)) } else { self.send(text, deadline) }
    }

    fn send(&self, mut text: Zeroizing<Vec<u8>>, deadline: Instant) -> Result<(), PipeError> {
        text.push(b'\n');
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            if Instant::now() >= deadline
                || !writable(self.outgoing.as_fd(), deadline).map_err(PipeError::Socket)?
            {
                return Err(PipeError::Slow);
            }
            match send(
                self.outgoing.as_fd().as_raw_fd(),
                rest,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            ) {
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(PipeError::Ended),
                Err(errno) => return Err(PipeError::Socket(errno)),
            }
        }
        Ok(())
    }

    /// Reads a message of at most `limit` bytes.
    ///
    /// # Errors
    /// [`PipeError`].
    pub(crate) fn receive(&mut self, limit: usize, deadline: Instant) -> Result<PipeText, PipeError> {
        let mut text = Zeroizing::new(Vec::with_capacity(limit.min(REQUEST_BYTES) + PART));
        text.append(&mut self.ahead);
        let mut part = Zeroizing::new([0; PART]);
        let mut looked_at = 0;
        loop {
            if let Some(end) = text.iter().skip(looked_at).position(|&byte| byte == b'\n') {
                let end = looked_at + end;
                self.ahead.extend_from_slice(text.get(end + 1..).unwrap_or_default());
                text.truncate(end);
                return if text.len() > limit { Err(PipeError::Long(limit)) } else { Ok(PipeText(text)) };
            }
            looked_at = text.len();
            if text.len() > limit {
                return Err(PipeError::Long(limit));
            }
            let length = read_some(self.incoming.as_fd(), part.as_mut_slice(), deadline)?;
            text.extend_from_slice(part.get(..length).unwrap_or_default());
        }
    }

    /// Whether there is more than was asked for.
    pub(crate) fn has_more(&self) -> bool {
        let mut byte = [0];
        let peek = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        !self.ahead.is_empty()
            || recv(self.incoming.as_fd().as_raw_fd(), &mut byte, peek).is_ok_and(|length| length > 0)
    }
}

/// The text of a request, with room for its end: it is not moved any more, and zeroed.
fn called(method: &str, payload: &Secret) -> Zeroizing<Vec<u8>> {
    let parts = [br#"{"method":""#, method.as_bytes(), br#"","payload":"#, payload.expose(), b"}"];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(length + 1));
    parts.iter().for_each(|part| text.extend_from_slice(part));
    text
}

/// Bytes that are read at once.
const PART: usize = 64 * 1024;

fn read_some(incoming: BorrowedFd<'_>, part: &mut [u8], deadline: Instant) -> Result<usize, PipeError> {
    loop {
        // Also for one who sends byte after byte.
        let is_there = Instant::now() < deadline
            && !readable(&[((), incoming)], deadline).map_err(PipeError::Socket)?.is_empty();
        if !is_there {
            return Err(PipeError::Slow);
        }
        match recv(incoming.as_raw_fd(), part, MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::ECONNRESET) => return Err(PipeError::Ended),
            Ok(length) => return Ok(length),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(PipeError::Socket(errno)),
        }
    }
}

impl From<PipeError> for io::Error {
    fn from(error: PipeError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests;
