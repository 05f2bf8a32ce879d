//! ONC RPC over TCP: the channel for RPCSEC_GSS contexts.
//!
//! [`RpcTokenClient`] carries whole messages, and makes contexts as a [`Channel`]. Nothing here knows a mechanism.

pub(crate) mod call;
pub(crate) mod context;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Answer, Channel, ChannelError};
use crate::ctx::Handle;
use crate::onc_rpc::record;
use crate::onc_rpc::tcp::Timed;
use crate::secret::Secret;
use call::{Program, RPC_MESSAGES};

/// A connection to one program of a server; one call at a time.
#[derive(Debug)]
pub struct RpcTokenClient {
    stream: TcpStream,
    program: Program,
    /// Time limit of one call with its reply.
    limit: Duration,
    next_xid: u32,
}

impl RpcTokenClient {
    /// A client over this connection. Each call with its reply may take `limit`.
    pub fn new(stream: TcpStream, program: Program, limit: Duration) -> Self {
        // Random, only so that connections differ.
        let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
        let next_xid = u32::from_ne_bytes([a, b, c, d]);
        Self { stream, program, limit, next_xid }
    }

    /// The program it calls.
    pub fn program(&self) -> Program {
        self.program
    }

    /// A transaction id for the next call.
    pub fn take_xid(&mut self) -> u32 {
        let xid = self.next_xid;
        self.next_xid = xid.wrapping_add(1);
        xid
    }

    /// Sends a call and waits for the next message, for [`AcceptedReply::parse`](crate::onc_rpc::reply::AcceptedReply::parse).
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn transact(&mut self, call: &[u8]) -> Result<Vec<u8>, ChannelError> {
        let mut stream = Timed::new(&self.stream, Instant::now() + self.limit);
        record::write(&mut stream, call)?;
        Ok(record::read(&mut stream, RPC_MESSAGES)?)
    }
}

impl Channel for RpcTokenClient {
    fn exchange(&mut self, handle: Option<&Handle>, token: &Secret) -> Result<Answer, ChannelError> {
        let xid = self.take_xid();
        let call = context::encode(xid, self.program, handle, token).map_err(ChannelError::Call)?;
        let message = self.transact(call.as_slice())?;
        Ok(context::decode(&message, xid)?)
    }
}
