//! The worker's channels: with the watch on each round, and through the monitor.

use std::time::{Duration, Instant};

use super::watch::Watch;
use crate::ctx::Handle;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::lustre::LUSTRE_TOKEN_LIMIT;
use crate::negotiate::channel::{Answer, Channel, ChannelError};
use crate::secret::Secret;
use crate::wire::WireError;

/// Longer than any round: the watch ends the process before.
const RELAY_LIMIT: Duration = Duration::from_secs(3600);

/// A channel that puts each round on the watch, together with the mechanism's work on the answer.
pub(super) struct WatchedChannel<'a, C> {
    pub(super) inner: C,
    pub(super) limit: Duration,
    pub(super) peer: &'a str,
    pub(super) watch: &'a Watch,
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
