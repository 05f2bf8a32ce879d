//! The calls that are under way, and the replies to them.
//!
//! Whoever waits for a reply while nobody reads reads for all; replies to nobody are dropped.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::connection::SharedConnection;
use super::error::{Interruption, RpcError};
use crate::ctx::RpcChannel;

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
    calls: HashMap<u32, PendingReplies>,
}

/// Replies to one call that wait to be looked at. A server sends one, but it may not be the server that sends the first.
#[derive(Debug, Default)]
struct PendingReplies {
    replies: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// Most of them, and most bytes of all but the first: the server cannot fill the caller's memory with copies.
const KEPT_REPLIES: usize = 4;
const KEPT_BYTES: usize = 64 * 1024;

impl PendingReplies {
    /// Keeps the reply, if there is room.
    fn push(&mut self, reply: Vec<u8>) {
        let fits = self.replies.len() < KEPT_REPLIES && self.bytes.saturating_add(reply.len()) <= KEPT_BYTES;
        if self.replies.is_empty() || fits {
            self.bytes += reply.len();
            self.replies.push_back(reply);
        }
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let reply = self.replies.pop_front()?;
        self.bytes -= reply.len();
        Some(reply)
    }
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
        state.calls.insert(xid, PendingReplies::default());
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

    /// Whether there has been a connection, of use or not.
    pub(super) fn was_connected(&self) -> bool {
        self.lock().connection.is_some()
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
            if let Some(reply) = state.calls.get_mut(&self.xid).and_then(PendingReplies::pop) {
                return Event::Reply(reply);
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
        if let Some(pending) = self.calls.get_mut(&u32::from_be_bytes(*xid)) {
            pending.push(message);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.exchange.lock().calls.remove(&self.xid);
        self.exchange.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_reply_fill_no_memory() {
        let mut pending = PendingReplies::default();
        (0..100).for_each(|_| pending.push(vec![0; 1 << 20]));
        assert_eq!((pending.replies.len(), pending.bytes), (1, 1 << 20));
        assert_eq!(pending.pop().map(|reply| reply.len()), Some(1 << 20));
        (0..100_u8).for_each(|number| pending.push(vec![number]));
        assert_eq!(pending.replies.len(), KEPT_REPLIES);
        assert_eq!(pending.pop(), Some(vec![0]), "the first comes first");
        (0..100).for_each(|_| pending.push(vec![0; KEPT_BYTES]));
        assert!(pending.bytes < KEPT_REPLIES);
    }
}
