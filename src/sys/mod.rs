//! The edge to the kernel: one typed function for each system call or operation of a multiplexed one.
//!
//! Only here and in `gss` is `unsafe` allowed; each block says why it is sound. Nothing here decides anything.
#![expect(unsafe_code, reason = "the system-call edge")]

#[cfg(feature = "gss")]
pub mod answer;
mod bare;
pub mod entry;
pub mod errno;
pub mod exec;
pub mod files;
pub mod fork;
pub mod heap;
pub mod heir;
#[cfg(feature = "gss")]
pub mod inherited;
pub mod init_channel;
pub mod jail;
pub mod keyctl;
pub mod lending;
pub mod locks;
#[cfg(feature = "gss")]
pub mod name_service;
pub mod namespaces;
pub mod proc;
pub mod process;
pub mod sockets;
pub mod tables;
