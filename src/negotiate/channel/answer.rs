//! A server's answer to a token.

use crate::class::{Private, classes};
use crate::secret::Secret;

/// Major status of a token that completes the server's side (RFC 2743 §1.2.1.1).
pub(crate) const GSS_S_COMPLETE: u32 = 0;

/// Major status of a refusal by the server's own policy (RFC 2743 §1.2.1.1).
pub(crate) const GSS_S_UNAUTHORIZED: u32 = 15 << 16;

/// A server's answer to a token.
#[derive(Debug)]
pub struct Answer {
    /// Its name for the context; may be empty after the first answer.
    pub handle: Private<Vec<u8>>,
    /// Its GSS major status (RFC 2743 §1.2.1.1).
    pub gss_major: u32,
    /// Its minor status, which is the mechanism's.
    pub gss_minor: u32,
    /// Its sequence window, meaningful once the context is complete.
    pub window: u32,
    /// Its token, if any.
    pub token: Secret,
    /// Proof that the window is the server's.
    #[cfg(feature = "gss")]
    pub window_proof: WindowProof,
}

/// Proof of the window's origin.
#[cfg(feature = "gss")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowProof {
    /// A message integrity code over the window as `u32 be` (RFC 2203 §5.2.3.1).
    Mic(Vec<u8>),
    /// The server sent none.
    Missing,
    /// None is needed, since the kernel got the answer over its own connection.
    TheKernels,
}

#[cfg(feature = "gss")]
classes!(Answer {
    handle: private,
    gss_major: public,
    gss_minor: public,
    window: public,
    token: secret,
    window_proof: unwritten,
});
#[cfg(not(feature = "gss"))]
classes!(Answer { handle: private, gss_major: public, gss_minor: public, window: public, token: secret });
