//! Why there is no context by a shared key.

use openssl::error::ErrorStack;

use super::super::{MechanismError, MechanismFault};
use super::netstring::NetstringError;
use crate::crypto::dh::AgreementError;

/// An objection of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum SkError {
    /// The key names a cipher, whose key is derived by HMAC, and no HMAC.
    #[error("shared key has a cipher but no HMAC algorithm to derive the cipher's key with")]
    NoHmac,
    /// The secret is none that HMAC takes.
    #[error("secret of the shared key is no HMAC key")]
    Secret,
    /// OpenSSL fails.
    #[error("OpenSSL: {0}")]
    Library(#[from] ErrorStack),
    /// The server's token does not consist of the fields that it should.
    #[error(transparent)]
    Layout(#[from] NetstringError),
    /// A field of fixed length has another one.
    #[error("{field} has {length} bytes, not {expected}")]
    FieldLength {
        /// Which one.
        field: &'static str,
        /// Its length.
        length: usize,
        /// What it should be.
        expected: usize,
    },
    /// Another version of the mechanism.
    #[error("version is {0}, not 1")]
    Version(u32),
    /// The token's HMAC is wrong.
    #[error("HMAC is not made with our shared key")]
    Hmac,
    /// Both sides have drawn the same random bytes, or somebody sends ours back.
    #[error("server's random bytes are ours")]
    SameRandom,
    /// The server's public key is wrong, or the secret has come out too short.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// The server signs what only the kernel can check.
    #[error("signature cannot be checked: contexts of shared keys have no such keys")]
    Signature,
}

impl SkError {
    pub(super) fn fault(&self) -> MechanismFault {
        match self {
            Self::SameRandom | Self::Agreement(AgreementError::ShortSecret(_)) => MechanismFault::BeginAgain,
            Self::Hmac => MechanismFault::OtherSecret,
            Self::NoHmac | Self::Secret => MechanismFault::Key,
            Self::Signature => MechanismFault::Mic,
            Self::Library(_)
            | Self::Layout(_)
            | Self::FieldLength { .. }
            | Self::Version(_)
            | Self::Agreement(_) => MechanismFault::Token,
        }
    }
}

impl From<SkError> for MechanismError {
    fn from(error: SkError) -> Self {
        Self { fault: error.fault(), gss_major: 0, text: error.to_string() }
    }
}
