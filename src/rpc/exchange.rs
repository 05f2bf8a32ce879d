//! The calls that are under way, and the replies to them.
//!
//! Whoever waits for a reply while nobody reads reads for all; replies to nobody are dropped.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::connection::SharedConnection;
use super::error::{Interruption, RpcError};
use crate::ctx::RpcChannel;

/// Replies to one call that wait to be looked at. A server sends one; of more, later ones are dropped.
const KEPT_REPLIES: usize = 4;

/// The calls of a client.
#[derive(Debug)]
pub(super) struct CallExchange {
    state: Mutex<ExchangeState>,
    changed: Condvar,
}

#[derive(Debug)]
struct ExchangeState {
    connection: Option<Arc<SharedConnection>>,
    next_xid: u32,
    /// Replies that have come, by the call's transaction id.
    calls: HashMap<u32, Vec<Vec<u8>>>,
}

/// A call that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    exchange: &'a CallExchange,
    pub(super) xid: u32,
}

/// What a wait has brought.
#[derive(Debug)]
pub(super) enum Event {
    /// A message with the call's transaction id.
    Reply(Vec<u8>),
    /// The connection is of no use any more.
    Lost(Interruption),
    /// The time is up.
    Silence,
}

impl CallExchange {
    pub(super) fn new() -> Self {
        // Random, only so that clients differ.
        let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
        let next_xid = u32::from_ne_bytes([a, b, c, d]);
        let state = ExchangeState { connection: None, next_xid, calls: HashMap::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, ExchangeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        let mut state = self.lock();
        let mut xid = state.next_xid;
        while state.calls.contains_key(&xid) {
            xid = xid.wrapping_add(1);
        }
        state.next_xid = xid.wrapping_add(1);
        state.calls.insert(xid, Vec::new());
        UnderWay { exchange: self, xid }
    }

    /// The present connection, or a new one.
    pub(super) fn connection(
        &self,
        channel: &RpcChannel,
        deadline: Instant,
        longest_reply: usize,
    ) -> Result<Arc<SharedConnection>, RpcError> {
        if let Some(connection) = self.lock().connection.as_ref().filter(|connection| !connection.is_broken())
        {
            return Ok(Arc::clone(connection));
        }
        // Without the lock: others may come first, and then theirs is taken.
        let made = Arc::new(SharedConnection::open(channel, deadline, longest_reply)?);
        let mut state = self.lock();
        match &state.connection {
            Some(connection) if !connection.is_broken() => Ok(Arc::clone(connection)),
            _ => {
                state.connection = Some(Arc::clone(&made));
                Ok(made)
            }
        }
    }

    /// Sleeps until something changes; `None` at the deadline.
    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, ExchangeState>,
        deadline: Instant,
    ) -> Option<MutexGuard<'a, ExchangeState>> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        Some(self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl UnderWay<'_> {
    /// Waits for a message with this call's transaction id.
    pub(super) fn wait(&self, connection: &Arc<SharedConnection>, deadline: Instant) -> Event {
        let mut state = self.exchange.lock();
        loop {
            if let Some(replies) = state.calls.get_mut(&self.xid).filter(|replies| !replies.is_empty()) {
                return Event::Reply(replies.remove(0));
            }
            if connection.is_broken() {
                return Event::Lost(Interruption::elsewhere());
            }
            // The flag changes below the lock only.
            if connection.is_read.swap(true, Ordering::Relaxed) {
                state = match self.exchange.sleep(state, deadline) {
                    Some(state) => state,
                    None => return Event::Silence,
                };
                continue;
            }
            drop(state);
            let received = connection.receive(deadline);
            state = self.exchange.lock();
            connection.is_read.store(false, Ordering::Relaxed);
            let ended = match received {
                Ok(Some(message)) => {
                    state.deliver(message);
                    None
                }
                Ok(None) => Some(Event::Silence),
                Err(interruption) => Some(Event::Lost(interruption)),
            };
            self.exchange.changed.notify_all();
            if let Some(event) = ended {
                return event;
            }
        }
    }
}

impl ExchangeState {
    fn deliver(&mut self, message: Vec<u8>) {
        let Some(xid) = message.first_chunk() else { return };
        if let Some(replies) = self.calls.get_mut(&u32::from_be_bytes(*xid))
            && replies.len() < KEPT_REPLIES
        {
            replies.push(message);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.exchange.lock().calls.remove(&self.xid);
        self.exchange.changed.notify_all();
    }
}
