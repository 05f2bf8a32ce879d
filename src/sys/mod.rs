//! The edge to the kernel: one typed function for each system call, or for each operation of a multiplexed one.
//!
//! `unsafe` is allowed only here and in `gss`, and each block says why it is sound. Nothing here makes a decision.
#![expect(unsafe_code, reason = "the system-call edge")]

#[cfg(feature = "gss")]
pub(crate) mod answer;
mod bare;
pub(crate) mod entry;
pub(crate) mod errno;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod heap;
pub(crate) mod heir;
#[cfg(feature = "gss")]
pub(crate) mod inherited;
pub(crate) mod init_channel;
pub(crate) mod jail;
pub(crate) mod keyctl;
pub(crate) mod lending;
pub(crate) mod locks;
#[cfg(feature = "gss")]
pub(crate) mod name_service;
pub(crate) mod namespaces;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod sockets;
pub(crate) mod tables;
