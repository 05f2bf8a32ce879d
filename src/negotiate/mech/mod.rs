//! Mechanisms that make and take tokens, one file each.
//!
//! [`super::drive`] sees only the traits. Invariant: a mechanism is consumed by each step, so that a failed or complete
//! one cannot be stepped again.

#[cfg(feature = "gss")]
pub(crate) mod krb5;

use std::fmt;

use crate::crypto::mic::KeyOrigin;
use crate::ctx::{BaseKey, Lifetime};
use crate::secret::Secret;

/// The initiator's side of an exchange that is not complete.
pub trait InitiatorSide: Sized {
    /// What it becomes.
    type Context: CompleteContext;

    /// Takes the server's token, empty at the start.
    ///
    /// # Errors
    /// [`MechanismError`], with what the server's error token says if it was one.
    fn step(self, token: &[u8]) -> Result<ExchangeStep<Self>, MechanismError>;

    /// What a server's minor status means. It is the mechanism's own number, and only by custom the same everywhere.
    fn fault_of(minor: u32) -> MechanismFault;
}

/// Where a token has led.
#[derive(Debug)]
pub enum ExchangeStep<M: InitiatorSide> {
    /// Send this and hand in the answer.
    Continue(M, Secret),
    /// Complete on this side; send this unless it is empty.
    Complete(M::Context, Secret),
}

/// A context that is complete on this side.
pub trait CompleteContext {
    /// Verifies the server's message integrity code.
    ///
    /// # Errors
    /// [`MechanismError`] if it is not the server's code of that message.
    fn verify_mic(&self, message: &[u8], mic: &[u8]) -> Result<(), MechanismError>;

    /// Checks that the context has what it must have, mutual authentication first (rule S12), and hands out its key.
    ///
    /// # Errors
    /// [`MechanismError`].
    fn into_keys(self) -> Result<Keys, MechanismError>;
}

/// What is needed to use a context without its mechanism's library.
#[derive(Debug)]
pub struct Keys {
    /// Base key.
    pub base_key: BaseKey,
    /// Whose key that is.
    pub key_origin: KeyOrigin,
    /// End of the context, seconds since the epoch.
    pub endtime: u32,
    /// First sequence number of our tokens.
    pub send_sequence: u64,
    /// How long it remains valid.
    pub lifetime: Lifetime,
}

/// What a mechanism objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MechanismError {
    /// Its kind.
    pub fault: MechanismFault,
    /// GSS major status, 0 if the library did not object.
    pub gss_major: u32,
    /// In words.
    pub text: String,
}

/// Kinds of objections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MechanismFault {
    /// The clocks differ too much.
    ClockSkew,
    /// The ticket has expired.
    TicketExpired,
    /// The server cannot decrypt the ticket, which is for a key that it does not have.
    StaleKey,
    /// A token, ours or the server's, cannot be made or accepted.
    Token,
    /// A message integrity code is wrong.
    Mic,
    /// The context lacks something that was asked for.
    Incomplete,
    /// The context's key is of a type that is not accepted.
    Key,
}

impl fmt::Display for MechanismError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for MechanismError {}
