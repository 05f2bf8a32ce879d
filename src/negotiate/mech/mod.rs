//! Mechanisms that make and take tokens, one file each.
//!
//! [`super::drive`] sees only the traits. Invariant: each step consumes the mechanism, so a failed or complete one cannot be
//! stepped again.

#[cfg(feature = "gss")]
pub(crate) mod krb5;
#[cfg(feature = "gss")]
pub(crate) mod sk;

use std::fmt;

use crate::secret::Secret;

/// The initiator's side of an exchange that is not yet complete.
pub trait InitiatorSide: Sized {
    /// The complete context it becomes.
    type Context: CompleteContext;

    /// Takes the server's token, empty at the start.
    ///
    /// # Errors
    /// [`MechanismError`], with the text of the token if that is an error token.
    fn step(self, token: &[u8]) -> Result<ExchangeStep<Self>, MechanismError>;

    /// The meaning of a server's minor status. The number is the mechanism's, and the same everywhere only by custom.
    fn fault_of(minor: u32) -> MechanismFault;
}

/// The result of a token.
#[derive(Debug)]
pub enum ExchangeStep<M: InitiatorSide> {
    /// Send this token and step with the answer.
    Continue(M, Secret),
    /// Complete on this side. Send this token unless it is empty.
    Complete(M::Context, Secret),
}

/// A context that is complete on this side.
pub trait CompleteContext {
    /// Everything needed to use the context without its mechanism's library.
    type Keys;

    /// Verifies the server's message integrity code.
    ///
    /// # Errors
    /// [`MechanismError`] if it is not the server's code for that message.
    fn verify_mic(&self, message: &[u8], mic: &[u8]) -> Result<(), MechanismError>;

    /// Checks that the context has everything required, mutual authentication first (rule S12), and returns its keys.
    ///
    /// # Errors
    /// [`MechanismError`].
    fn into_keys(self) -> Result<Self::Keys, MechanismError>;
}

/// A mechanism's objection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MechanismError {
    /// Its kind.
    pub fault: MechanismFault,
    /// GSS major status, 0 if the objection is not the library's.
    pub gss_major: u32,
    /// The objection in words.
    pub text: String,
}

/// Kinds of objections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MechanismFault {
    /// The clocks differ too much.
    ClockSkew,
    /// The ticket has expired.
    TicketExpired,
    /// The server cannot decrypt the ticket, since it does not have the key.
    StaleKey,
    /// Our token cannot be made, or the server's is not accepted.
    Token,
    /// A message integrity code is wrong.
    Mic,
    /// The context lacks a requested property.
    Incomplete,
    /// The context's key is of a type that is not accepted.
    Key,
    /// The server's secret is not ours.
    OtherSecret,
    /// Nobody's fault: the same exchange, begun anew, has other random numbers.
    BeginAgain,
}

impl fmt::Display for MechanismError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for MechanismError {}
