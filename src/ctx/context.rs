//! An established context and its parts. Invariant: each part is made only from what its limits allow.

use std::num::NonZeroU32;
use std::time::Duration;

use super::initiator::Initiator;
use crate::class::Private;
use crate::crypto::enctype::Enctype;
use crate::crypto::mic::KeyOrigin;
use crate::secret::Secret;

/// Longest context handle accepted from a server, in bytes. Ganesha's has 16, Lustre's 8.
pub const HANDLE_LIMIT: usize = 512;

/// RPCSEC_GSS sequence window (RFC 2203 §5.2.3.1); a server that grants 0 is refused (S12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqWindow(NonZeroU32);

impl SeqWindow {
    /// `None` for 0.
    pub fn new(window: u32) -> Option<Self> {
        NonZeroU32::new(window).map(Self)
    }

    /// Number of outstanding requests the server remembers.
    pub fn count(self) -> u32 {
        self.0.get()
    }
}

/// The server's name for the context (RFC 2203 §5.2.3.1): 1 to [`HANDLE_LIMIT`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle(Private<Vec<u8>>);

impl Handle {
    /// `None` if empty or over the limit (S12).
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=HANDLE_LIMIT).contains(&bytes.len()).then(|| Self(Private::new(bytes.to_vec())))
    }

    /// The bytes to put into calls.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.expose()
    }
}

/// How long a context remains valid from now; whole seconds, as GSS and key timeouts have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(u32);

impl Lifetime {
    /// From seconds.
    pub fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// In seconds.
    pub fn as_secs(self) -> u32 {
        self.0
    }

    /// As a span of time.
    pub fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    /// Less the safety margin min(60 s, a tenth), so that no one signs with a context that the server is about to drop.
    #[must_use]
    pub fn less_margin(self) -> Self {
        Self(self.0.saturating_sub((self.0 / 10).min(60)))
    }

    /// The shorter of the two.
    #[must_use]
    pub fn at_most(self, bound: Duration) -> Self {
        Self(self.0.min(u32::try_from(bound.as_secs()).unwrap_or(u32::MAX)))
    }
}

/// The base key with its type; the length fits the type.
#[derive(Debug)]
pub struct BaseKey {
    enctype: Enctype,
    bytes: Secret,
}

impl BaseKey {
    /// `None` if the length does not fit the type (S12).
    pub fn new(enctype: Enctype, bytes: Secret) -> Option<Self> {
        let acceptable = bytes.len() == enctype.key_length() && bytes.expose().iter().any(|&byte| byte != 0);
        acceptable.then_some(Self { enctype, bytes })
    }

    /// Its encryption type.
    pub fn enctype(&self) -> Enctype {
        self.enctype
    }

    /// Its bytes.
    pub fn secret(&self) -> &Secret {
        &self.bytes
    }
}

/// An established context as its key holds it. Made only from checked parts.
#[derive(Debug)]
pub struct Context {
    /// The server's sequence window.
    pub window: SeqWindow,
    /// The server's handle.
    pub handle: Handle,
    /// Base key and encryption type.
    pub base_key: BaseKey,
    /// Whose key that is.
    pub key_origin: KeyOrigin,
    /// End of the context, seconds since the epoch.
    pub endtime: u32,
    /// Number of the first token: the initiator's in a key, the acceptor's where a server installs the context.
    pub send_sequence: u64,
    /// Whom it speaks for; `None` if the key does not say so, as those of other versions.
    pub initiator: Option<Initiator>,
}
