//! The monitor's end of the conversation: sends the request, passes on the server's answers, receives the worker's messages.

use std::time::Instant;

use super::frames::{Body, Frame, FrameError, Link, MonitorKind, ReplyControl, WorkerKind, parse_control};
use super::report::{Message, Report};
use super::request::{REQUEST_TIME, Request};
use crate::class::Private;
use crate::negotiate::channel::answer::Answer;
use crate::negotiate::channel::lustre::LUSTRE_TOKEN_LIMIT;
use crate::secret::Secret;
use crate::sys::duplex::Duplex;

/// Longest base key, or keys of a context by a shared key, in bytes.
const KEY_LIMIT: usize = 96;

/// The end that only the monitor has.
#[derive(Debug)]
pub(crate) struct MonitorEnd(Link<MonitorKind, WorkerKind>);

impl MonitorEnd {
    /// Over an end of two pipes.
    pub(crate) fn over(pipes: Duplex) -> Self {
        Self(Link::over(pipes))
    }

    /// Sends the request, once.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be encoded or sent.
    pub(crate) fn send_request(&mut self, request: &Request) -> Result<(), FrameError> {
        let deadline = Instant::now() + REQUEST_TIME;
        self.0.send_by(deadline, MonitorKind::Request, request, Body::default())
    }

    /// Passes the server's answer on.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be encoded or sent; [`FrameError::Unread`] at the deadline.
    pub(crate) fn send_reply(&mut self, answer: &Answer, deadline: Instant) -> Result<(), FrameError> {
        let Answer { gss_major, gss_minor, window, .. } = *answer;
        let control = ReplyControl { gss_major, gss_minor, window };
        let body = Body { key: Some(&answer.token), handle: answer.handle.expose() };
        self.0.send_by(deadline, MonitorKind::Reply, &control, body)
    }

    /// Reports that the server did not answer and a new exchange may begin.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be sent; [`FrameError::Unread`] at the deadline.
    pub(crate) fn send_again(&mut self, deadline: Instant) -> Result<(), FrameError> {
        self.0.send_by(deadline, MonitorKind::Again, &(), Body::default())
    }

    /// Waits for the worker's next message.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(crate) fn receive_message(&mut self, deadline: Instant) -> Result<Message, FrameError> {
        let received = self.0.receive(deadline)?;
        match received.parse()? {
            Frame { kind: WorkerKind::Established, control, key, handle } if key.len() <= KEY_LIMIT => {
                Ok(Message::Report(Report::Established {
                    context: Box::new(parse_control(control)?),
                    base_key: Secret::new(key.to_vec()),
                    handle: Private::new(handle.to_vec()),
                }))
            }
            Frame { kind: WorkerKind::Shared, control, key, handle: [] } if key.len() <= KEY_LIMIT => {
                let (context, keys) = (parse_control(control)?, Secret::new(key.to_vec()));
                Ok(Message::Report(Report::Shared { context, keys }))
            }
            Frame { kind: WorkerKind::TestedPrime, control, key: [], handle: [] } => {
                Ok(Message::TestedPrime(parse_control(control)?))
            }
            Frame { kind: WorkerKind::Failed, control, key: [], handle: [] } => {
                Ok(Message::Report(Report::Failed(parse_control(control)?)))
            }
            Frame { kind: WorkerKind::Ready, control, key: cache, handle: [] } => {
                Ok(Message::Ready(parse_control(control)?, Secret::new(cache.to_vec())))
            }
            Frame { kind: WorkerKind::Token, control, key: token, handle: [] }
                if (1..=LUSTRE_TOKEN_LIMIT).contains(&token.len()) =>
            {
                Ok(Message::Token(Secret::new(token.to_vec()), parse_control(control)?))
            }
            other => Err(other.unexpected()),
        }
    }
}
