//! The two tokens of sk and their HMACs.
//!
//! Called by [`sk`](super). Layouts, each field a netstring:
//! * ours: `u32 be` version 1 · 4 random bytes · prime · public key · target and a NUL · SHA-256 of the nodemap · `u32 be`
//!   flags · HMAC of the others;
//! * the server's: `u32 be` version 1 · 4 random bytes · public key · HMAC of the others.
//!
//! The HMAC is HMAC-SHA256 with the shared key's secret, whatever the key's own algorithm, over the fields' contents.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::error::SkError;
use super::keys::keyed;
use super::netstring::{decode, encode};
use crate::secret::Secret;

const VERSION: u32 = 1;
const HMAC_LENGTH: usize = 32;

/// What our token says.
pub(super) struct InitiatorFields<'a> {
    pub(super) random: [u8; 4],
    pub(super) prime: &'a [u8],
    pub(super) public: &'a [u8],
    pub(super) target: &'a str,
    pub(super) nodemap: &'a str,
    pub(super) flags: u32,
}

impl InitiatorFields<'_> {
    pub(super) fn token(&self, secret: &Secret) -> Result<Vec<u8>, SkError> {
        let (version, flags) = (VERSION.to_be_bytes(), self.flags.to_be_bytes());
        let target = [self.target.as_bytes(), b"\0"].concat();
        let nodemap = Sha256::digest(self.nodemap);
        let said: [&[u8]; 7] = [&version, &self.random, self.prime, self.public, &target, &nodemap, &flags];
        let hmac = keyed::<Hmac<Sha256>>(secret, &said)?.finalize();
        let [version, random, prime, public, target, nodemap, flags] = said;
        Ok(encode(&[version, random, prime, public, target, nodemap, flags, hmac.as_bytes()]))
    }
}

/// What the server's token says.
#[derive(Debug)]
pub(super) struct ResponderFields<'a> {
    pub(super) random: [u8; 4],
    pub(super) public: &'a [u8],
}

impl<'a> ResponderFields<'a> {
    /// Checks a token: form, version, and last its HMAC. Whether the public key is in range is left to the agreement.
    pub(super) fn verified(token: &'a [u8], prime_length: usize, secret: &Secret) -> Result<Self, SkError> {
        let [version, random, public, hmac] = decode(token, [4, 4, prime_length, HMAC_LENGTH])?;
        let version: [u8; 4] = exact("version", version)?;
        let fields = Self { random: exact("random number", random)?, public };
        let hmac: [u8; HMAC_LENGTH] = exact("HMAC", hmac)?;
        if version != VERSION.to_be_bytes() {
            return Err(SkError::Version(u32::from_be_bytes(version)));
        }
        // In constant time.
        keyed::<Hmac<Sha256>>(secret, &[&version, random, public])?
            .verify_slice(&hmac)
            .map_err(|_| SkError::Hmac)?;
        Ok(fields)
    }
}

fn exact<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], SkError> {
    let (length, expected) = (bytes.len(), N);
    bytes.try_into().map_err(|_| SkError::FieldLength { field, length, expected })
}
