//! A connection that several threads use: each sends its own calls, one at a time reads the replies of all.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::error::{Interruption, InterruptionKind, RpcError, Unconnected};
use crate::ctx::RpcChannel;
use crate::onc_rpc::record::{self, Assembly, RecordError, RecordLimits};
use crate::onc_rpc::tcp::{self, Timed};

/// Most fragments of a reply, including empty ones.
const FRAGMENTS: usize = 1024;

/// One connection, and the reply that is being received.
#[derive(Debug)]
pub(super) struct SharedConnection {
    sending: Mutex<TcpStream>,
    receiving: Mutex<(TcpStream, Assembly)>,
    is_broken: AtomicBool,
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
            sending: Mutex::new(stream),
            is_broken: AtomicBool::new(false),
            is_read: AtomicBool::new(false),
        })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Sends a call. After an error the connection is of no use, since half a call may have been sent.
    pub(super) fn send(&self, message: &[u8], deadline: Instant) -> Result<(), Interruption> {
        let stream = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        record::write(&mut Timed::new(&stream, deadline), message).map_err(|error| {
            // Whoever is receiving is not to wait for what does not come.
            let _ = stream.shutdown(Shutdown::Both);
            self.broken(error)
        })
    }

    /// Receives the next reply, whosever it is; `None` at the deadline, after which another thread may read on.
    pub(super) fn receive(&self, deadline: Instant) -> Result<Option<Vec<u8>>, Interruption> {
        let mut receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, assembly) = &mut *receiving;
        match assembly.read(&mut Timed::new(stream, deadline)) {
            Ok(message) => Ok(Some(message)),
            Err(RecordError::Silent) => Ok(None),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: RecordError) -> Interruption {
        self.is_broken.store(true, Ordering::Relaxed);
        error.into()
    }
}
