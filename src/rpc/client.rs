//! A program's calls to one program of a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::body::{CallProtection, ProtectedCall, Purpose, ReplyVerdict, decode};
use super::connection::SharedConnection;
use super::error::RpcError;
use super::exchange::{CallExchange, Event, UnderWay};
use crate::ctx::Handle;
use crate::security::{ClientContext, MessageError, Security};
use crate::sys::per_process::generation;

/// On how many connections, one after the other, a call is sent.
const ATTEMPTS: u32 = 3;
/// Pauses between attempts to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Least time between contexts that are made because of what nobody has signed.
const BETWEEN_REPLACEMENTS: Duration = Duration::from_secs(10);
/// Longest time limit of a call.
const LONGEST_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Calls to the server, program and version that a [`Security`]'s request names. Threads may share it: several calls are under way
/// on its one connection, as many as the server's window allows. Each call is made for the calling thread's effective uid.
///
/// A forked child makes a client of its own.
#[derive(Debug)]
pub struct Client {
    security: Security,
    options: ClientOptions,
    exchange: CallExchange,
    generation: u64,
    /// When the server last seemed not to know a context of this uid, and which one.
    replaced: Mutex<HashMap<u32, (Instant, Handle)>>,
}

/// How calls are made. New fields may come: change those of [`ClientOptions::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOptions {
    /// What is protected; the call's header unless said otherwise.
    pub protection: CallProtection,
    /// Time limit of a call, with all that it needs: a context, a connection, the reply; a day at most, 60 s unless said otherwise.
    pub limit: Duration,
    /// Longest reply that is received, in bytes; 2 MiB unless said otherwise.
    pub longest_reply: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let limit = Duration::from_secs(60);
        Self { protection: CallProtection::default(), limit, longest_reply: 2 * 1024 * 1024 }
    }
}

impl Client {
    /// Nothing is looked up and no connection made before the first call.
    pub fn new(security: Security, options: ClientOptions) -> Self {
        Self {
            security,
            options,
            exchange: CallExchange::new(),
            generation: generation(),
            replaced: Mutex::default(),
        }
    }

    /// What its contexts are for.
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// How it makes calls.
    pub fn options(&self) -> ClientOptions {
        self.options
    }

    /// Calls a procedure with these arguments in XDR, whose length is a multiple of four, and returns its results in XDR.
    ///
    /// A call whose connection breaks is sent again on a new one, twice at most, with the same transaction id and another sequence
    /// number. If the server does not know the context, a new one is made and the call sent again, once; not more than every ten
    /// seconds, since nobody signs such a reply.
    ///
    /// # Errors
    /// [`RpcError`]. After [`RpcError::Silent`] and [`RpcError::Lost`] the server may have carried out the call, and after a repetition
    /// more than once, unless it knows repeated calls by their transaction ids, as NFS servers do.
    pub fn call(&self, procedure: u32, arguments: &[u8]) -> Result<Zeroizing<Vec<u8>>, RpcError> {
        if self.generation != generation() {
            return Err(MessageError::Forked.into());
        }
        let deadline = Instant::now() + self.options.limit.min(LONGEST_LIMIT);
        let context = self.security.lookup(left(deadline))?;
        let program = &self.security.request().channel;
        let call = ProtectedCall {
            purpose: Purpose::Data,
            program: program.program,
            version: program.version,
            procedure,
            protection: self.options.protection,
            arguments,
        };
        // One transaction id, by which the server knows a call that comes again with another context.
        let under_way = self.exchange.begin();
        match self.make(&call, &context, (&under_way, deadline)) {
            Err(error) if error.is_about_the_context() && self.may_replace(&context, &error) => {
                let context = self.security.replace(&context, left(deadline))?;
                self.make(&call, &context, (&under_way, deadline))
            }
            other => other,
        }
    }

    /// Whether the context is to be replaced: for what the server seems to say, which nobody has signed, only now and then, lest
    /// whoever sends such words has contexts made without end.
    pub(super) fn may_replace(&self, context: &ClientContext, error: &RpcError) -> bool {
        if !matches!(error, RpcError::Reply(_)) {
            return true;
        }
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        // Calls of other threads with the same context have the one that takes its place.
        let may = replaced.get(&context.owner()).is_none_or(|(when, handle)| {
            handle == context.handle() || when.elapsed() >= BETWEEN_REPLACEMENTS
        });
        if may {
            replaced.insert(context.owner(), (Instant::now(), context.handle().clone()));
        }
        may
    }

    /// Ends the present context of the calling thread's uid at the server, too (RFC 2203 §5.4), and gives it up here, for all that use
    /// it. The next call has a new one. Without a context there is nothing to do.
    ///
    /// # Errors
    /// [`RpcError`]; the context is given up nevertheless.
    pub fn destroy_context(&self) -> Result<(), RpcError> {
        if self.generation != generation() {
            return Err(MessageError::Forked.into());
        }
        let deadline = Instant::now() + self.options.limit.min(LONGEST_LIMIT);
        let Some(context) = self.security.present() else { return Ok(()) };
        let program = &self.security.request().channel;
        let call = ProtectedCall::destroying(program.program, program.version);
        let made = self.make(&call, &context, (&self.exchange.begin(), deadline));
        context.die();
        match made {
            // It is what was wanted: a reply may have been lost.
            Err(error) if error.says_the_context_is_unknown() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Makes a call with this context. It is sent again only if its connection is lost: on one that lives a server loses no
    /// call (RFC 7530 §3.1.1).
    fn make(
        &self,
        call: &ProtectedCall<'_>,
        context: &ClientContext,
        (under_way, deadline): (&UnderWay<'_>, Instant),
    ) -> Result<Zeroizing<Vec<u8>>, RpcError> {
        let mut sequences = Vec::new();
        let mut lost = None;
        for _ in 0..ATTEMPTS {
            match self.attempt((call, context), (under_way, deadline), &mut sequences)? {
                Sending::Results(results) => return Ok(results),
                Sending::Lost(error) => lost = Some(error),
                Sending::Silence => return Err(RpcError::Silent(self.options.limit)),
            }
        }
        Err(lost.unwrap_or(RpcError::Silent(self.options.limit)))
    }

    /// Sends the call once and waits for its results.
    fn attempt(
        &self,
        (call, context): (&ProtectedCall<'_>, &ClientContext),
        (under_way, until): (&UnderWay<'_>, Instant),
        sequences: &mut Vec<u32>,
    ) -> Result<Sending, RpcError> {
        let connection = match self.connection(until) {
            Err(error @ RpcError::Connect(_)) if self.exchange.was_connected() => {
                return Ok(Sending::Lost(error));
            }
            other => other?,
        };
        let Some(sequence) = context.take_call_number(until)? else { return Ok(Sending::Silence) };
        sequences.push(sequence.number);
        let message = call.encode(context, under_way.xid, sequence.number)?;
        let received = connection.received();
        match connection.send(message.as_slice(), until) {
            Ok(true) => {}
            Ok(false) => return Ok(Sending::Silence),
            Err(interruption) => return Ok(Sending::Lost(RpcError::Lost(interruption))),
        }
        loop {
            let message = match under_way.wait(&connection, until) {
                Event::Reply(message) => message,
                Event::Lost(interruption) => return Ok(Sending::Lost(RpcError::Lost(interruption))),
                Event::Silence => {
                    // Where nothing came for anybody the server may not hear us: the next call connects anew.
                    if connection.received() == received {
                        connection.give_up();
                    }
                    return Ok(Sending::Silence);
                }
            };
            let reply = decode(&message, context, call.protection, (under_way.xid, sequences));
            if let ReplyVerdict::Results(results) = reply? {
                return Ok(Sending::Results(results));
            }
        }
    }

    /// The present connection, or a new one. A server that has been there before may be starting again: it is waited for.
    fn connection(&self, until: Instant) -> Result<Arc<SharedConnection>, RpcError> {
        let channel = &self.security.request().channel;
        let mut pause = RECONNECT_PAUSE;
        loop {
            match self.exchange.connection(channel, until, self.options.longest_reply) {
                Err(RpcError::Connect(_)) if self.exchange.was_connected() && left(until) > pause => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_RECONNECT_PAUSE);
                }
                other => return other,
            }
        }
    }
}

/// How one sending of a call has ended.
enum Sending {
    Results(Zeroizing<Vec<u8>>),
    /// The connection was lost, or could not be made anew.
    Lost(RpcError),
    Silence,
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
