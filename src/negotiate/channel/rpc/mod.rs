//! ONC RPC over TCP: the channel for RPCSEC_GSS contexts, and calls for programs that have a context.
//!
//! [`Client`] carries whole messages, and makes contexts as a [`Channel`]. Client programs encode with [`call`] and decode
//! with [`reply`]. Nothing here knows a mechanism.

pub(crate) mod call;
pub(crate) mod context;
pub(crate) mod record;
pub(crate) mod reply;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpStream;
use std::time::Duration;

use super::tcp::Timed;
use super::{Answer, Channel, ChannelError};
use crate::ctx::Handle;
use crate::secret::Secret;
use call::Program;

/// A connection to one program of a server; one call at a time.
#[derive(Debug)]
pub struct Client {
    stream: Timed,
    program: Program,
    /// Time limit of one call with its reply.
    limit: Duration,
    next_xid: u32,
}

impl Client {
    /// A client over this connection. Each call with its reply may take `limit`.
    pub fn new(stream: TcpStream, program: Program, limit: Duration) -> Self {
        // Random, only so that connections differ.
        let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
        let next_xid = u32::from_ne_bytes([a, b, c, d]);
        Self { stream: Timed::new(stream), program, limit, next_xid }
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

    /// Sends a call and waits for the next message, for [`reply::RpcReply::parse`].
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn transact(&mut self, call: &[u8]) -> Result<Vec<u8>, ChannelError> {
        self.stream.set_limit(self.limit);
        record::write(&mut self.stream, call)?;
        Ok(record::read(&mut self.stream)?)
    }
}

impl Channel for Client {
    fn exchange(&mut self, handle: Option<&Handle>, token: &Secret) -> Result<Answer, ChannelError> {
        let xid = self.take_xid();
        let call = context::encode(xid, self.program, handle, token).map_err(ChannelError::Call)?;
        let message = self.transact(call.as_slice())?;
        Ok(context::decode(&message, xid)?)
    }
}
