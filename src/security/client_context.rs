//! A context and the protection of messages with it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use zeroize::Zeroizing;

use super::arrival::{Arrival, Repeated, ReplayWindow};
use super::error::MessageError;
use super::facts::{ContextPlace, Facts};
use super::held;
use super::message_keys::MessageKeys;
use super::numbers::{CallNumbers, NoNumber, TokenNumbers};
use crate::crypto::enctype::Enctype;
use crate::crypto::mic::MicKeys;
use crate::crypto::wrap::{Affixes, Protection, WrapKeys};
use crate::ctx::client::ContextKey;
use crate::ctx::{Handle, Initiator, Principal, SeqWindow, Service};
use crate::sys::per_process::generation;
use crate::time::now;

/// An established context. Clones are the same context: they share its numbers, and its key is released with the last.
///
/// Threads may use it at the same time. In a forked child it refuses to work, since parent and child would use the
/// same numbers; the child looks up a context of its own.
#[derive(Clone)]
pub struct ClientContext(Arc<SharedContext>);

/// What the clones of a context share.
pub(super) struct SharedContext {
    pub(super) facts: Facts,
    keys: MessageKeys,
    place: ContextPlace,
    generation: u64,
    tokens: TokenNumbers,
    calls: CallNumbers,
    received: Mutex<ReplayWindow>,
    dead: AtomicBool,
}

/// A context that is known, but not kept in use by that.
pub(super) struct Weakly(Weak<SharedContext>);

impl Weakly {
    pub(super) fn is_used(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(super) fn used(&self) -> Option<ClientContext> {
        self.0.upgrade().map(ClientContext)
    }
}

/// A message that the peer has protected.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub message: Zeroizing<Vec<u8>>,
    /// Whether it was encrypted, or only signed.
    pub protection: Protection,
    /// How it stands among those received before.
    pub arrival: Arrival,
}

impl ClientContext {
    pub(super) fn new(facts: Facts, keys: MessageKeys, place: ContextPlace, first_token: u64) -> Self {
        Self(Arc::new(SharedContext {
            facts,
            keys,
            place,
            generation: generation(),
            tokens: TokenNumbers::from(first_token),
            calls: CallNumbers::from(1),
            received: Mutex::default(),
            dead: AtomicBool::new(false),
        }))
    }

    /// The token that proves the message to the peer (GSS_GetMIC): 28 to 40 bytes, by the encryption type.
    ///
    /// # Errors
    /// As [`ClientContext::check`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MessageError> {
        Ok(self.0.keys.mic.sign(message, self.take_token_number()?))
    }

    /// [`ClientContext::sign`] for a message in pieces, which are taken as one.
    ///
    /// # Errors
    /// As [`ClientContext::check`].
    pub fn sign_pieces(&self, pieces: &[&[u8]]) -> Result<Vec<u8>, MessageError> {
        Ok(self.0.keys.mic.sign_pieces(pieces, self.take_token_number()?))
    }

    /// Checks that the peer signed the message (GSS_VerifyMIC), and that this token has not been received before.
    ///
    /// # Errors
    /// [`MessageError::Mic`], [`MessageError::Duplicate`], [`MessageError::Old`], and as [`ClientContext::check`].
    pub fn verify(&self, message: &[u8], token: &[u8]) -> Result<Arrival, MessageError> {
        self.verify_pieces(&[message], token)
    }

    /// [`ClientContext::verify`] for a message in pieces, which are taken as one.
    ///
    /// # Errors
    /// As [`ClientContext::verify`].
    pub fn verify_pieces(&self, pieces: &[&[u8]], token: &[u8]) -> Result<Arrival, MessageError> {
        self.check()?;
        let number = self.0.keys.mic.verify_pieces(pieces, token)?;
        self.accept(number)
    }

    /// The message encrypted and signed, as one token (GSS_Wrap with confidentiality): 60 to 72 bytes longer than the
    /// message.
    ///
    /// # Errors
    /// [`MessageError::Wrap`] if the kernel has no random numbers, and as [`ClientContext::check`].
    pub fn seal(&self, message: &[u8]) -> Result<Vec<u8>, MessageError> {
        Ok(self.0.keys.wrap.seal(message, self.take_token_number()?)?)
    }

    /// The message signed, as one token in which it can be read (GSS_Wrap without confidentiality).
    ///
    /// # Errors
    /// As [`ClientContext::seal`].
    pub fn protect(&self, message: &[u8]) -> Result<Vec<u8>, MessageError> {
        Ok(self.0.keys.wrap.protect(message, self.take_token_number()?)?)
    }

    /// The message in a token of the peer's (GSS_Unwrap). Whoever wants secrecy looks at [`Received::protection`]: a token that
    /// is only signed is accepted, too.
    ///
    /// # Errors
    /// [`MessageError::Wrap`], [`MessageError::Duplicate`], [`MessageError::Old`], and as [`ClientContext::check`].
    pub fn unseal(&self, token: &[u8]) -> Result<Received, MessageError> {
        self.check()?;
        let opened = self.0.keys.wrap.unseal(token)?;
        let arrival = self.accept(opened.sequence)?;
        Ok(Received { message: opened.message, protection: opened.protection, arrival })
    }

    /// Encrypts a message of many buffers in place; they are taken as one message, and nothing is copied. The peer needs what
    /// is returned, too: head, buffers and tail in this order are the token of [`ClientContext::seal`].
    ///
    /// # Errors
    /// As [`ClientContext::seal`]; the buffers are as they were then.
    pub fn wrap_bulk(&self, buffers: &mut [&mut [u8]]) -> Result<Affixes, MessageError> {
        Ok(self.0.keys.wrap.seal_in_place(buffers, self.take_token_number()?)?)
    }

    /// Decrypts in place what the peer's [`ClientContext::wrap_bulk`] made.
    ///
    /// # Errors
    /// As [`ClientContext::unseal`]. The buffers hold zeros then, unless the context could not be used at all.
    pub fn unwrap_bulk(
        &self,
        head: &[u8],
        buffers: &mut [&mut [u8]],
        tail: &[u8],
    ) -> Result<Arrival, MessageError> {
        self.check()?;
        let number = self.0.keys.wrap.unseal_in_place(head, buffers, tail)?;
        self.accept(number).inspect_err(|_| buffers.iter_mut().for_each(|buffer| buffer.fill(0)))
    }

    fn accept(&self, number: u64) -> Result<Arrival, MessageError> {
        let mut received = self.0.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.accept(number).map_err(|repeated| match repeated {
            Repeated::Duplicate => MessageError::Duplicate(number),
            Repeated::Old => MessageError::Old(number),
        })
    }

    /// The number of the next token.
    pub(crate) fn take_token_number(&self) -> Result<u64, MessageError> {
        self.check()?;
        let number = self.0.tokens.take().ok_or(MessageError::Exhausted)?;
        // A signal handler may have forked meanwhile.
        if self.0.generation == generation() { Ok(number) } else { Err(MessageError::Forked) }
    }

    /// The sequence number of the next RPCSEC_GSS call: from 1, below MAXSEQ, and within the server's window. `None` if the
    /// calls under way leave no room until the deadline.
    pub(crate) fn take_call_number(&self, deadline: Instant) -> Result<Option<CallNumber<'_>>, MessageError> {
        self.check()?;
        if matches!(self.0.place, ContextPlace::Shared(_)) {
            return Err(MessageError::Shared);
        }
        match self.0.calls.take(self.window().count(), deadline) {
            Ok(number) => Ok(Some(CallNumber { context: self, number })),
            Err(NoNumber::NotInTime) => Ok(None),
            Err(NoNumber::UsedUp) => Err(MessageError::Exhausted),
        }
    }

    /// The signing keys, for protocols that count by themselves.
    pub(crate) fn mic(&self) -> &MicKeys {
        &self.0.keys.mic
    }

    /// The sealing keys, for protocols that count by themselves.
    pub(crate) fn wrap(&self) -> &WrapKeys {
        &self.0.keys.wrap
    }

    /// Whether the context may be used, as far as can be told without the kernel; every use checks it.
    ///
    /// # Errors
    /// [`MessageError::Forked`], [`MessageError::Dead`], [`MessageError::Expired`].
    pub fn check(&self) -> Result<(), MessageError> {
        if self.0.generation != generation() {
            Err(MessageError::Forked)
        } else if self.0.dead.load(Ordering::Relaxed) {
            Err(MessageError::Dead)
        } else if u64::from(self.0.facts.endtime) <= now() {
            Err(MessageError::Expired(self.0.facts.endtime))
        } else {
            Ok(())
        }
    }

    /// Whether the context may be used, and its key is still there: it may have been flushed by another process, as by
    /// `lgss flush`, or have expired, which is some time before the context does (docs/formats.md). A context whose key is
    /// gone is dead from then on.
    ///
    /// # Errors
    /// As [`ClientContext::check`].
    pub fn validate(&self) -> Result<(), MessageError> {
        self.check()?;
        match self.key() {
            Some(key) if !key.is_there() => {
                self.0.dead.store(true, Ordering::Relaxed);
                Err(MessageError::Dead)
            }
            _ => Ok(()),
        }
    }

    /// Ends the context at once, for all that use it: their next use fails, and its key goes away. For a shared context that
    /// holds for the user's other processes, too.
    pub fn die(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
        if self.0.generation == generation() {
            self.0.let_go();
            if let ContextPlace::Shared(key) = self.0.place {
                key.end();
            }
        }
    }

    /// Sees to it that no process finds it any more.
    pub(super) fn leave_to_nobody(&self) {
        if matches!(self.0.place, ContextPlace::Shared(_)) {
            self.die();
        }
    }

    /// Gives this clone back, as dropping does. The key of a context of this process's own goes away with the last clone, when no
    /// lookup would give it any more.
    pub fn release(self) {
        drop(self);
    }

    /// The key that holds the context; `None` for one that the program brought.
    pub fn key(&self) -> Option<ContextKey> {
        match self.0.place {
            ContextPlace::Own { key, .. } | ContextPlace::Shared(key) => Some(key),
            ContextPlace::Nowhere => None,
        }
    }

    /// The server's name for the context, for the credential of each RPCSEC_GSS call: 1 to 512 bytes.
    pub fn handle(&self) -> &Handle {
        &self.0.facts.handle
    }

    /// How many RPCSEC_GSS calls may be under way at a time (RFC 2203 §5.3.3.1).
    pub fn window(&self) -> SeqWindow {
        self.0.facts.window
    }

    /// The encryption type.
    pub fn enctype(&self) -> Enctype {
        self.0.facts.enctype
    }

    /// The end of the context, seconds since the epoch.
    pub fn endtime(&self) -> u32 {
        self.0.facts.endtime
    }

    /// The effective uid that it was looked up for.
    pub fn owner(&self) -> u32 {
        self.0.facts.owner
    }

    /// The service it is with.
    pub fn service(&self) -> &Service {
        &self.0.facts.service
    }

    /// For which principal it was made, and which wish was not met; `None` if the key does not say so.
    pub fn initiator(&self) -> Option<&Initiator> {
        self.0.facts.initiator.as_ref()
    }

    /// The principal it speaks for, if the key says so.
    pub fn principal(&self) -> Option<&Principal> {
        self.initiator().map(|initiator| &initiator.principal)
    }

    pub(super) fn weakly(&self) -> Weakly {
        Weakly(Arc::downgrade(&self.0))
    }

    /// Whether both are the same context.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it is one of `owner`'s with this service, that may be used and whose key is still there.
    pub fn matches(&self, owner: u32, service: &Service) -> bool {
        self.0.facts.owner == owner && self.0.facts.service == *service && self.validate().is_ok()
    }
}

/// A call's sequence number, under way until this is dropped.
#[derive(Debug)]
pub(crate) struct CallNumber<'a> {
    context: &'a ClientContext,
    pub(crate) number: u32,
}

impl Drop for CallNumber<'_> {
    fn drop(&mut self) {
        self.context.0.calls.give_back(self.number);
    }
}

impl SharedContext {
    fn let_go(&self) {
        if let ContextPlace::Own { key, ring } = self.place {
            held::release(key.serial(), ring);
        }
    }
}

impl Drop for SharedContext {
    fn drop(&mut self) {
        // The parent's key is not the child's to release.
        if self.generation == generation() {
            self.let_go();
        }
    }
}

/// One line for people: service, owner, principal, encryption type, end and key.
impl fmt::Display for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { service, owner, enctype, endtime, .. } = &self.0.facts;
        write!(f, "{}@{} for uid {owner}", service.name(), service.host())?;
        if let Some(principal) = self.principal() {
            write!(f, " as {principal}")?;
        }
        write!(f, ", {enctype}, ")?;
        match self.check() {
            Ok(()) => write!(f, "{} s left", u64::from(*endtime).saturating_sub(now()))?,
            Err(error) => write!(f, "unusable: {error}")?,
        }
        match self.key() {
            Some(key) => write!(f, ", key {}", key.serial()),
            None => f.write_str(", in no key"),
        }
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientContext({self})")
    }
}
