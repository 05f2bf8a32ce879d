//! Kerberos cryptography on a context's base key: key derivation (RFC 3961, 8009) and message tokens (RFC 4121).
//!
//! Used by client contexts and to verify RPC replies. Nothing here reads a file or asks a KDC.
#![forbid(unsafe_code)]

pub mod enctype;
pub mod kdf;
mod keyed_hash;
pub mod mic;

#[cfg(test)]
mod tests;
