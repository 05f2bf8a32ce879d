//! Kerberos cryptography on a context's base key: key derivation (RFC 3961, 8009) and message tokens (RFC 4121).
//!
//! Called by the client contexts and by whoever verifies an RPC reply; nothing here reads a file or asks a KDC.
#![forbid(unsafe_code)]

pub mod enctype;
pub mod kdf;
mod keyed_hash;
pub mod mic;

#[cfg(test)]
mod tests;
