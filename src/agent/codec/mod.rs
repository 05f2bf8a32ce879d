//! The protocol KCM and the format of credentials in it: file caches, version 4.
//!
//! Used by operations and storage. Invariant: what is parsed is bounds-checked, and bytes of credentials are kept as they
//! came.

mod credential;
mod file_cache;
mod id;
mod pattern;
mod principal;
mod reply;
mod request;

pub(crate) use credential::{CredentialId, HeldCredential, RenewableLife};
pub(crate) use file_cache::{FileCacheFault, only_credential, with_one};
pub(crate) use id::{id_of, number_of};
pub(crate) use pattern::Pattern;
pub(crate) use principal::PrincipalBytes;
pub(crate) use reply::{KcmReply, Status};
pub(crate) use request::{CacheId, CacheLabel, Header, KcmRequest, Opcode, RequestFault};

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::credential::tests::{Sample, opaque, principal};
    pub(crate) use super::pattern::tests::pattern;

    /// The name of a cache, then more parameters.
    pub(crate) fn named(label: &str, rest: &[u8]) -> Vec<u8> {
        [label.as_bytes(), &[0], rest].concat()
    }
}
