//! The derived keys of a context, for both kinds of tokens.

use crate::crypto::kdf::KeyLength;
use crate::crypto::mic::{KeyOrigin, MicKeys, Role};
use crate::crypto::wrap::WrapKeys;
use crate::ctx::BaseKey;

/// Signing and sealing keys, seen from one end.
#[derive(Debug)]
pub(super) struct MessageKeys {
    pub(super) mic: MicKeys,
    pub(super) wrap: WrapKeys,
}

impl MessageKeys {
    pub(super) fn new(base: &BaseKey, origin: KeyOrigin, role: Role) -> Result<Self, KeyLength> {
        let (enctype, key) = (base.enctype(), base.secret());
        Ok(Self {
            mic: MicKeys::new(enctype, key, origin, role)?,
            wrap: WrapKeys::new(enctype, key, origin, role)?,
        })
    }
}
