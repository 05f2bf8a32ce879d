//! The worker's end of the conversation: receives the request and reports. The launcher has it first.

#[cfg(feature = "gss")]
use std::time::Instant;

use super::frames::{Body, FrameError, Link, MonitorKind, WorkerKind};
#[cfg(feature = "gss")]
use super::frames::{Frame, ReplyControl, parse_control};
use super::report::Failed;
#[cfg(feature = "gss")]
use super::report::{Established, Ready, SharedKeyEstablished, TestedPrime, Timing};
#[cfg(feature = "gss")]
use super::request::Request;
#[cfg(feature = "gss")]
use crate::class::Private;
#[cfg(feature = "gss")]
use crate::negotiate::channel::answer::{Answer, WindowProof};
#[cfg(feature = "gss")]
use crate::secret::Secret;
use crate::sys::duplex::Duplex;

/// The end that only the launcher and the worker have.
#[derive(Debug)]
pub(crate) struct WorkerEnd(Link<WorkerKind, MonitorKind>);

impl WorkerEnd {
    /// Over an end of two pipes.
    pub(crate) fn over(pipes: Duplex) -> Self {
        Self(Link::over(pipes))
    }

    /// Reports failure.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be encoded or sent.
    pub(crate) fn send_failed(&mut self, failed: &Failed) -> Result<(), FrameError> {
        self.0.send(WorkerKind::Failed, failed, Body::default())
    }
}

#[cfg(feature = "gss")]
impl WorkerEnd {
    /// The same end by other descriptors.
    ///
    /// # Errors
    /// [`FrameError::Pipe`].
    pub(crate) fn another(&self) -> Result<Self, FrameError> {
        self.0.another().map(Self)
    }

    /// Waits for the one request.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(crate) fn receive_request(&mut self, deadline: Instant) -> Result<Request, FrameError> {
        let received = self.0.receive(deadline)?;
        match received.parse()? {
            Frame { kind: MonitorKind::Request, control, key: [], handle: [] } => parse_control(control),
            other => Err(other.unexpected()),
        }
    }

    /// Reports success.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be encoded or sent.
    pub(crate) fn send_established(
        &mut self,
        context: &Established,
        base_key: &Secret,
        handle: &[u8],
    ) -> Result<(), FrameError> {
        self.0.send(WorkerKind::Established, context, Body { key: Some(base_key), handle })
    }

    /// Reports success with a shared key.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be encoded or sent.
    pub(crate) fn send_shared(
        &mut self,
        context: &SharedKeyEstablished,
        keys: &Secret,
    ) -> Result<(), FrameError> {
        self.0.send(WorkerKind::Shared, context, Body::of(keys))
    }

    /// Reports that a prime has passed its test.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be sent.
    pub(crate) fn send_tested_prime(&mut self, prime: TestedPrime) -> Result<(), FrameError> {
        self.0.send(WorkerKind::TestedPrime, &prime, Body::default())
    }

    /// Sends a token for the server, with the duration of each stage so far.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be encoded or sent.
    pub(crate) fn send_token(&mut self, token: &Secret, stages: &[Timing]) -> Result<(), FrameError> {
        self.0.send(WorkerKind::Token, &stages, Body::of(token))
    }

    /// Reports that machine credentials are ready, with a cache to store if there is a new one.
    ///
    /// # Errors
    /// [`FrameError`] if it cannot be encoded or sent.
    pub(crate) fn send_ready(&mut self, ready: Ready, cache: Option<&Secret>) -> Result<(), FrameError> {
        let body = cache.map(Body::of).unwrap_or_default();
        self.0.send(WorkerKind::Ready, &ready, body)
    }

    /// Waits for the server's answer. `None`: the server did not answer, and a new exchange may begin.
    ///
    /// # Errors
    /// [`FrameError`].
    pub(crate) fn receive_reply(&mut self, deadline: Instant) -> Result<Option<Answer>, FrameError> {
        let received = self.0.receive(deadline)?;
        match received.parse()? {
            Frame { kind: MonitorKind::Reply, control, key: token, handle } => {
                let ReplyControl { gss_major, gss_minor, window } = parse_control(control)?;
                let (handle, token) = (Private::new(handle.to_vec()), Secret::new(token.to_vec()));
                let window_proof = WindowProof::TheKernels;
                Ok(Some(Answer { handle, gss_major, gss_minor, window, token, window_proof }))
            }
            Frame { kind: MonitorKind::Again, key: [], handle: [], .. } => Ok(None),
            other => Err(other.unexpected()),
        }
    }
}
