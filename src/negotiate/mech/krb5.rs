//! Kerberos 5 (RFC 4121) by MIT's library.

use super::{CompleteContext, ExchangeStep, InitiatorSide, MechanismError, MechanismFault};
use crate::crypto::mic::KeyOrigin;
use crate::ctx::request::Level;
use crate::ctx::{BaseKey, Lifetime};
use crate::gss::context::{self, EstablishedContext, GssInitiator, ProtectionFlags};
use crate::gss::status::{GssError, Krb5Reason};
use crate::gss::ticket::Ticket;

/// An exchange with one ticket's service.
#[derive(Debug)]
pub struct Krb5 {
    initiator: GssInitiator,
    protection: ProtectionFlags,
}

/// The complete context.
#[derive(Debug)]
pub struct Krb5Context {
    established: EstablishedContext,
    protection: ProtectionFlags,
}

/// What is exported of a context.
#[derive(Debug)]
pub struct Krb5Keys {
    /// Base key.
    pub base_key: BaseKey,
    /// Which side's key that is.
    pub key_origin: KeyOrigin,
    /// End of the context, seconds since the epoch.
    pub endtime: u32,
    /// First sequence number of our tokens.
    pub send_sequence: u64,
    /// How long the context remains valid.
    pub lifetime: Lifetime,
}

impl Krb5 {
    /// Begins an exchange with the ticket's service. Asks for integrity at every level, because RPCSEC_GSS signs every call
    /// header (RFC 2203 §5.3.1). Always asks for mutual authentication, never for delegation, replay detection or
    /// sequencing.
    ///
    /// # Errors
    /// [`MechanismError`] of the library.
    pub fn new(ticket: &Ticket, level: Level) -> Result<Self, MechanismError> {
        let protection = match level {
            Level::Null | Level::Authentication | Level::Integrity => ProtectionFlags::Integrity,
            Level::Privacy => ProtectionFlags::Confidentiality,
        };
        let initiator = GssInitiator::new(ticket, protection)?;
        Ok(Self { initiator, protection })
    }
}

impl InitiatorSide for Krb5 {
    type Context = Krb5Context;

    fn step(self, token: &[u8]) -> Result<ExchangeStep<Self>, MechanismError> {
        let protection = self.protection;
        // Before the step, which consumes the initiator.
        let skew = self.initiator.explain_skew(token);
        let stepped = self.initiator.step(token).map_err(|error| MechanismError::from(error).with_skew(skew));
        Ok(match stepped? {
            context::InitiatorStep::Continue(initiator, token) => {
                ExchangeStep::Continue(Self { initiator, protection }, token)
            }
            context::InitiatorStep::Complete(established, token) => {
                ExchangeStep::Complete(Krb5Context { established, protection }, token)
            }
        })
    }

    fn fault_of(minor: u32) -> MechanismFault {
        Krb5Reason::of_minor(minor).into()
    }
}

impl CompleteContext for Krb5Context {
    type Keys = Krb5Keys;

    fn verify_mic(&self, message: &[u8], mic: &[u8]) -> Result<(), MechanismError> {
        let wrong = |error: GssError| MechanismError { fault: MechanismFault::Mic, ..error.into() };
        self.established.verify_mic(message, mic).map_err(wrong)
    }

    fn into_keys(self) -> Result<Krb5Keys, MechanismError> {
        let granted = self.established.granted();
        for (objection, met) in [
            ("no mutual authentication", granted.mutual()),
            ("the context does not protect messages as asked", granted.protects(self.protection)),
            ("credentials were delegated", !granted.delegated()),
        ] {
            if !met {
                return Err(objection_to(MechanismFault::Incomplete, objection));
            }
        }
        let exported = self
            .established
            .export()
            .map_err(|error| objection_to(MechanismFault::Key, &error.to_string()))?;
        let base_key = BaseKey::new(exported.enctype, exported.base_key)
            .ok_or_else(|| objection_to(MechanismFault::Key, "the context's key does not fit its type"))?;
        let key_origin =
            if exported.acceptor_subkey { KeyOrigin::AcceptorSubkey } else { KeyOrigin::Initiator };
        let lifetime = Lifetime::from_secs(exported.lifetime);
        let (endtime, send_sequence) = (exported.endtime, exported.send_sequence);
        Ok(Krb5Keys { base_key, key_origin, endtime, send_sequence, lifetime })
    }
}

fn objection_to(fault: MechanismFault, text: &str) -> MechanismError {
    MechanismError { fault, gss_major: 0, text: text.to_owned() }
}

impl From<GssError> for MechanismError {
    fn from(error: GssError) -> Self {
        Self { fault: error.reason().into(), gss_major: error.major, text: error.message }
    }
}

impl From<Krb5Reason> for MechanismFault {
    fn from(reason: Krb5Reason) -> Self {
        match reason {
            Krb5Reason::ClockSkew => Self::ClockSkew,
            Krb5Reason::TicketExpired => Self::TicketExpired,
            Krb5Reason::StaleKey => Self::StaleKey,
            _ => Self::Token,
        }
    }
}

impl MechanismError {
    /// Adds what is known of the clock difference, if the fault may come from it.
    fn with_skew(mut self, known: Option<String>) -> Self {
        if let (MechanismFault::ClockSkew | MechanismFault::TicketExpired, Some(known)) = (self.fault, known)
        {
            self.text = format!("{}: {known}", self.text);
        }
        self
    }
}
