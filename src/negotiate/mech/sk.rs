//! Lustre's shared keys: one token each way, authenticated by a secret that both sides have, with a Diffie-Hellman exchange
//! for keys that the secret alone does not betray (docs/formats.md, "Tokens of sk").
//!
//! Called by the worker for one context to one target. Invariants: what the server says counts only once its HMAC is found
//! right; nothing here outlives the exchange but [`SkKeys`].

mod error;
#[cfg(feature = "test-programs")]
pub(crate) mod fuzz;
mod keys;
mod netstring;
mod token;

use openssl::rand::rand_bytes;

use super::{CompleteContext, ExchangeStep, InitiatorSide, MechanismError, MechanismFault};
use crate::creds::shared_key::SharedKey;
use crate::crypto::dh::{KeyPair, SafePrime};
use crate::ctx::lustre::Roles;
use crate::ctx::request::Level;
use crate::nid::Nid;
use crate::secret::Secret;
use error::SkError;
use keys::{Conversation, derive};
use token::{InitiatorFields, ResponderFields};

/// What the exchange is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkParameters<'a> {
    /// The key that the server has, too.
    pub key: &'a SharedKey,
    /// Its prime.
    pub prime: &'a SafePrime,
    /// Name of the target, such as `lustre-MDT0000-mdc-ff46162242dab800`.
    pub target: &'a str,
    /// In which capacity.
    pub roles: Roles,
    /// Protection.
    pub level: Level,
    /// This machine's network identifier.
    pub myself: Nid,
}

/// An exchange.
pub(crate) struct Sk<'a> {
    parameters: SkParameters<'a>,
    pair: KeyPair<'a>,
    random: [u8; 4],
    token: Vec<u8>,
}

/// The complete context.
#[derive(Debug)]
pub(crate) struct SkContext(SkKeys);

/// Keys of a context.
#[derive(Debug)]
pub(crate) struct SkKeys {
    /// Our random bytes.
    pub host_random: [u8; 4],
    /// The server's.
    pub peer_random: [u8; 4],
    /// Signs messages; as long as a digest of the shared key's HMAC algorithm.
    pub hmac_key: Secret,
    /// Encrypts messages; empty unless privacy is asked for.
    pub encryption_key: Secret,
}

impl<'a> Sk<'a> {
    /// Begins an exchange, with random numbers of its own.
    ///
    /// # Errors
    /// The key has algorithms that do not go together, or OpenSSL fails.
    pub(crate) fn new(parameters: SkParameters<'a>) -> Result<Self, MechanismError> {
        let mut random = [0; 4];
        rand_bytes(&mut random).map_err(SkError::from)?;
        let pair = KeyPair::generate(parameters.prime).map_err(SkError::from)?;
        Ok(Self::with(parameters, pair, random)?)
    }

    fn with(parameters: SkParameters<'a>, pair: KeyPair<'a>, random: [u8; 4]) -> Result<Self, SkError> {
        let SkParameters { key, prime, target, .. } = parameters;
        keys::check_algorithms(key)?;
        let fields = InitiatorFields {
            random,
            prime: prime.as_bytes(),
            public: pair.public(),
            target,
            nodemap: &key.nodemap,
            flags: flags(parameters.roles, parameters.level),
        };
        let token = fields.token(&key.secret)?;
        Ok(Self { parameters, pair, random, token })
    }

    fn complete(self, answer: &[u8]) -> Result<SkContext, SkError> {
        let SkParameters { key, prime, level, myself, .. } = self.parameters;
        let fields = ResponderFields::verified(answer, prime.as_bytes().len(), &key.secret)?;
        if fields.random == self.random {
            return Err(SkError::SameRandom);
        }
        let agreed = self.pair.agree(fields.public)?;
        let said = Conversation { agreed: &agreed, myself, client: &self.token, server: answer };
        let (hmac_key, encryption_key) = derive(key, level, &said)?;
        let (host_random, peer_random) = (self.random, fields.random);
        Ok(SkContext(SkKeys { host_random, peer_random, hmac_key, encryption_key }))
    }
}

impl InitiatorSide for Sk<'_> {
    type Context = SkContext;

    fn step(self, token: &[u8]) -> Result<ExchangeStep<Self>, MechanismError> {
        if token.is_empty() {
            let first = Secret::new(self.token.clone());
            return Ok(ExchangeStep::Continue(self, first));
        }
        Ok(ExchangeStep::Complete(self.complete(token)?, Secret::new(Vec::new())))
    }

    /// Servers give no reasons by number.
    fn fault_of(_: u32) -> MechanismFault {
        MechanismFault::Token
    }
}

impl CompleteContext for SkContext {
    type Keys = SkKeys;

    /// Only the kernel, which has the keys, can tell.
    fn verify_mic(&self, _: &[u8], _: &[u8]) -> Result<(), MechanismError> {
        Err(SkError::Signature.into())
    }

    /// The server has proved by its HMAC that it has the shared key.
    fn into_keys(self) -> Result<SkKeys, MechanismError> {
        Ok(self.0)
    }
}

/// What is asked for, in the token's numbers.
fn flags(roles: Roles, level: Level) -> u32 {
    let service = match level {
        Level::Null => 0x10,
        Level::Authentication => 0x20,
        Level::Integrity => 0x40,
        Level::Privacy => 0x80,
    };
    service | roles.bits()
}

#[cfg(test)]
mod tests;
