//! A connection that several threads use: each sends its own calls, one at a time reads the replies of all.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::error::{Interruption, InterruptionKind, RpcError, Unconnected};
use super::turns::Turns;
use crate::ctx::RpcChannel;
use crate::onc_rpc::record::{self, Assembly, RecordError, RecordLimits};
use crate::onc_rpc::tcp::{self, Timed};

/// Most fragments of a reply, including empty ones.
const FRAGMENTS: usize = 1024;

/// One connection, and the reply that is being received.
#[derive(Debug)]
pub(super) struct SharedConnection {
    stream: TcpStream,
    sending: Turns,
    receiving: Mutex<(TcpStream, Assembly)>,
    is_broken: AtomicBool,
    /// Messages received.
    received: AtomicU64,
    /// Whether a thread is receiving; [`super::exchange`] sees to it that it is one.
    pub(super) is_read: AtomicBool,
}

impl SharedConnection {
    /// Connects to the first address that accepts.
    pub(super) fn open(
        channel: &RpcChannel,
        deadline: Instant,
        longest_reply: usize,
    ) -> Result<Self, RpcError> {
        let unconnected = |error| RpcError::Connect(Unconnected(error));
        let addresses = tcp::resolve(&channel.host, channel.port).map_err(unconnected)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = tcp::connect(&addresses, left).map_err(unconnected)?;
        let lost = |error: io::Error| RpcError::Lost(Interruption(InterruptionKind::Broken(error.kind())));
        let limits = RecordLimits { bytes: longest_reply, fragments: FRAGMENTS };
        Ok(Self {
            receiving: Mutex::new((stream.try_clone().map_err(lost)?, Assembly::new(limits))),
            stream,
            sending: Turns::default(),
            is_broken: AtomicBool::new(false),
            received: AtomicU64::new(0),
            is_read: AtomicBool::new(false),
        })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Messages that have come from the server, whosever they are.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Ends the connection: whoever waits for replies learns it at once.
    pub(super) fn give_up(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends a call, after those of other threads; `false` if they leave no time for it until the deadline. After an error
    /// the connection is of no use, since half a call may have been sent.
    pub(super) fn send(&self, message: &[u8], deadline: Instant) -> Result<bool, Interruption> {
        let Some(_turn) = self.sending.take(deadline) else { return Ok(false) };
        match record::write(&mut Timed::new(&self.stream, deadline), message) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.give_up();
                Err(error.into())
            }
        }
    }

    /// Receives the next reply, whosever it is; `None` at the deadline, after which another thread may read on.
    pub(super) fn receive(&self, deadline: Instant) -> Result<Option<Vec<u8>>, Interruption> {
        let mut receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, assembly) = &mut *receiving;
        match assembly.read(&mut Timed::new(stream, deadline)) {
            Ok(message) => {
                self.received.fetch_add(1, Ordering::Relaxed);
                Ok(Some(message))
            }
            Err(RecordError::Silent) => Ok(None),
            Err(error) => {
                self.give_up();
                Err(error.into())
            }
        }
    }
}
