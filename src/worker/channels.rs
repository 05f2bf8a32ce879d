//! The worker's channels: with the watch on each round, and through the monitor.

use std::time::{Duration, Instant};

use super::sandbox;
use super::watch::Watch;
use crate::config::WorkerSandbox;
use crate::ctx::Handle;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::lustre::LUSTRE_TOKEN_LIMIT;
use crate::negotiate::channel::{Answer, Channel, ChannelError};
use crate::secret::Secret;
use crate::wire::WireError;

/// Longer than any round: the watch ends the process before.
const RELAY_LIMIT: Duration = Duration::from_secs(3600);

/// What may follow the server's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// Another ticket may have to be got from a KDC.
    AnotherTicket,
    /// The exchange may be begun again with the same ticket.
    AnotherExchange(WorkerSandbox),
    /// Nothing that needs more than what is open.
    Nothing(WorkerSandbox),
}

/// A channel that puts each round on the watch, together with the mechanism's work on the answer. If nothing else is to be opened,
/// the sandbox is closed before the first byte of the server's is read.
pub(super) struct WatchedChannel<'a, C> {
    pub(super) inner: C,
    pub(super) limit: Duration,
    pub(super) peer: &'a str,
    pub(super) watch: &'a Watch,
    pub(super) afterwards: Afterwards,
}

impl<C> WatchedChannel<'_, C> {
    pub(super) fn begin_round(&self) {
        let silent = format!("{}: no answer in time", self.peer);
        let overdue = Failure::new(Stage::Negotiate, Cause::ServerSilent, silent);
        self.watch.enter(Instant::now() + self.limit, overdue);
    }
}

impl<C: Channel> Channel for WatchedChannel<'_, C> {
    fn exchange(&mut self, handle: Option<&Handle>, token: &Secret) -> Result<Answer, ChannelError> {
        self.begin_round();
        // The first token has been made, for which libraries read credentials and load what they need.
        match std::mem::replace(&mut self.afterwards, Afterwards::AnotherTicket) {
            Afterwards::AnotherTicket | Afterwards::AnotherExchange(WorkerSandbox::Off) => {}
            Afterwards::AnotherExchange(_) => sandbox::leave_networks().map_err(ChannelError::Sandbox)?,
            Afterwards::Nothing(sandbox) => sandbox::await_answers(sandbox).map_err(ChannelError::Sandbox)?,
        }
        self.inner.exchange(handle, token)
    }
}

/// A channel through the monitor, which hands tokens to the kernel. The kernel knows the context's handle.
pub(super) struct RelayedChannel<'a> {
    pub(super) watch: &'a Watch,
}

impl Channel for RelayedChannel<'_> {
    fn exchange(&mut self, _: Option<&Handle>, token: &Secret) -> Result<Answer, ChannelError> {
        if token.len() > LUSTRE_TOKEN_LIMIT {
            return Err(ChannelError::Call(WireError::TooLong(token.len(), LUSTRE_TOKEN_LIMIT)));
        }
        self.watch.send_token(token)?;
        // The watch keeps the time.
        let answer = self.watch.receiver()?.receive_reply(Instant::now() + RELAY_LIMIT)?;
        answer.ok_or(ChannelError::Unanswered)
    }
}
