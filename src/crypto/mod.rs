//! Kerberos cryptography on a context's base key: key derivation (RFC 3961, 8009) and message tokens (RFC 4121). And
//! Diffie-Hellman, for Lustre's shared keys.
//!
//! Used by client contexts, to verify RPC replies, and by mechanisms. Nothing here reads a file or asks a KDC.
#![forbid(unsafe_code)]

mod block_cipher;
#[cfg(feature = "gss")]
pub(crate) mod dh;
pub mod enctype;
mod ends;
#[cfg(feature = "test-programs")]
pub(crate) mod fuzz;
pub mod kdf;
mod keyed_hash;
pub mod mic;
#[cfg(feature = "upcall")]
pub(crate) mod prime_size;
pub mod wrap;

#[cfg(test)]
mod tests;
